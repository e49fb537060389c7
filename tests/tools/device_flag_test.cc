// --device on a machine without a GPU, and on one whose GPUs are hidden.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>

#include "tests/lseg/tiny_dataset.h"
#include "tests/lseg/tiny_model.h"
#include "tests/tools/run_program.h"

namespace lseg {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

class DeviceFlag : public testing::Test {
 protected:
  DeviceFlag() {
    WriteTinyDataset(folder_, "photos", 1, 40, 32);
    folder_.Write("net.prototxt", kTinyTrainNet);
    TinyModel().Write(folder_.Path("tiny.safetensors"));
    setenv("CUDA_VISIBLE_DEVICES", "", 1);
  }
  ~DeviceFlag() override { unsetenv("CUDA_VISIBLE_DEVICES"); }

  ProgramResult Run(const std::vector<std::string>& arguments) const {
    return RunProgram(arguments, folder_.Path("program"));
  }
  ProgramResult Infer(const std::string& device, const std::string& engine = "own") const {
    return Run({LSEG_INFER, "--weights", folder_.Path("tiny.safetensors"), "--input",
                folder_.Path("photos.txt"), "--out", folder_.Path("maps"), "--device", device,
                "--engine", engine});
  }
  ProgramResult Train(const std::string& device, const std::string& engine = "own") const {
    return Run({LSEG_TRAIN, "--net", folder_.Path("net.prototxt"), "--data",
                folder_.Path("photos.txt"), "--out", folder_.Path("run"), "--iterations", "1",
                "--crop", "16x16", "--device", device, "--engine", engine});
  }

  TempFolder folder_;
};

TEST_F(DeviceFlag, CudaWithoutAGpuSaysWhatIsMissingInOneLine) {
  for (const ProgramResult& result : {Infer("cuda"), Train("cuda")}) {
    EXPECT_EQ(result.code, 1);
    EXPECT_THAT(result.err, AllOf(StartsWith("lseg_"), HasSubstr(": device cuda: "),
                                  HasSubstr("use --device cpu")));
    EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
  }
  EXPECT_FALSE(std::filesystem::exists(folder_.Path("maps")));
}

TEST_F(DeviceFlag, AutoWithoutAGpuTakesTheCpuAndSaysSo) {
  for (const ProgramResult& result : {Infer("auto"), Train("auto")}) {
    EXPECT_EQ(result.code, 0) << result.err;
    EXPECT_THAT(result.out, HasSubstr("--device auto takes the CPU: device cuda: "));
    EXPECT_EQ(result.err, "");
  }
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("maps/photos0.label.png")));
  EXPECT_TRUE(std::filesystem::exists(folder_.Path("run/final.safetensors")));
}

TEST_F(DeviceFlag, OthersThanTheThreeAreAWrongCommandLine) {
  for (const ProgramResult& result : {Infer("gpu"), Train("gpu")}) {
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.err, HasSubstr("--device 'gpu' is not there: cpu, cuda and auto are"));
  }
}

TEST_F(DeviceFlag, LibrariesOfAGpuAreNotOfTheCpu) {
  for (const char* engine : {"cudnn", "cublas"}) {
    for (const ProgramResult& result : {Infer("cpu", engine), Train("cpu", engine)}) {
      EXPECT_EQ(result.code, 1);
      EXPECT_THAT(result.err, HasSubstr("cudnn and cublas are of device cuda, not of cpu"));
      EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    }
  }
  for (const ProgramResult& result : {Infer("cpu", "mkl"), Train("cpu", "mkl")}) {
    EXPECT_EQ(result.code, 2);
    EXPECT_THAT(result.err, HasSubstr("--engine 'mkl' is not there: own, cudnn and cublas are"));
  }
}

}  // namespace
}  // namespace lseg
