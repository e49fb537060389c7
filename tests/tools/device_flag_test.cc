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
  ProgramResult Infer(const std::string& device, const std::string& engine = "own",
                      const std::string& precision = "f32") const {
    return Run({LSEG_INFER, "--weights", folder_.Path("tiny.safetensors"), "--input",
                folder_.Path("photos.txt"), "--out", folder_.Path("maps"), "--device", device,
                "--engine", engine, "--precision", precision});
  }
  ProgramResult Train(const std::string& device, const std::string& engine = "own",
                      const std::string& precision = "f32") const {
    return Run({LSEG_TRAIN, "--net", folder_.Path("net.prototxt"), "--data",
                folder_.Path("photos.txt"), "--out", folder_.Path("run"), "--iterations", "1",
                "--crop", "16x16", "--device", device, "--engine", engine, "--precision",
                precision});
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
    EXPECT_EQ(WithoutDoubts(result.err), "");
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

TEST_F(DeviceFlag, PrecisionsThatTheCpuLacksAreOneLine) {
  const std::pair<std::string, std::string> cases[] = {{"f16", "precision f16 needs a GPU"},
                                                       {"tf32", "precision tf32 needs a GPU"}};
  for (const auto& [precision, line] : cases) {
    for (const ProgramResult& result :
         {Infer("cpu", "own", precision), Train("cpu", "own", precision)}) {
      EXPECT_EQ(result.code, 1);
      EXPECT_THAT(result.err, HasSubstr(line));
      EXPECT_EQ(std::count(result.err.begin(), result.err.end(), '\n'), 1) << result.err;
    }
  }
  EXPECT_EQ(Infer("cpu", "own", "f8").code, 2);
}

// oneDNN as it is, and told to leave alone what it does bf16 with, as on a processor without that:
// the tiny net's layers, which have too few channels for our own code, are f32 then.
TEST_F(DeviceFlag, Bf16RunsOnAnyCpu) {
  for (const char* most : {"ALL", "AVX2"}) {
    setenv("DNNL_MAX_CPU_ISA", most, 1);
    for (const ProgramResult& result : {Infer("cpu", "own", "bf16"), Train("cpu", "own", "bf16")}) {
      EXPECT_EQ(result.code, 0) << most << ": " << result.err;
      EXPECT_EQ(WithoutDoubts(result.err), "");
    }
    for (const char* made : {"maps/photos0.label.png", "run/final.safetensors"}) {
      EXPECT_TRUE(std::filesystem::remove(folder_.Path(made))) << most << ": " << made;
    }
    std::filesystem::remove_all(folder_.Path("run"));
  }
  unsetenv("DNNL_MAX_CPU_ISA");
}

}  // namespace
}  // namespace lseg
