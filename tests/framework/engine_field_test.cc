// A convolution's `engine: CUDNN`: obeyed in all three directions on a GPU, a note on the CPU. And
// the engines that a net is told to take.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/net.h"
#include "tests/device.h"
#include "tests/error_of.h"

namespace lseg {
namespace {

using testing::Contains;
using testing::HasSubstr;

NetDefinition Definition(const std::string& engine) {
  return NetDefinition::FromText(
      "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 8 dim: 6 "
      "dim: 6 } } }\n"
      "layer { name: 'label' type: 'Input' top: 'label' input_param { shape { dim: 1 dim: 8 dim: 6 "
      "dim: 6 } } }\n"
      "layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' convolution_param { "
      "num_output: 8 kernel_size: 3 pad: 1 " +
          engine +
          " } }\n"
          "layer { name: 'loss' type: 'SigmoidCrossEntropyLoss' bottom: 'c' bottom: 'label' top: "
          "'loss' }\n",
      "test.prototxt");
}

std::vector<std::string> NotesOnTheCpu(const std::string& engine) {
  Context context;
  ParameterSet parameters;
  return BuildLayers(Definition(engine).Filtered(caffe::TEST), BuiltinLayers(), context, 1,
                     parameters, {})
      .notes;
}

TEST(EngineField, CudnnIsIgnoredWithANoteOnTheCpu) {
  EXPECT_THAT(NotesOnTheCpu("engine: CUDNN"),
              Contains(HasSubstr("'c' (Convolution): engine: CUDNN is ignored")));
  for (const char* engine : {"", "engine: CAFFE", "engine: DEFAULT"}) {
    EXPECT_THAT(NotesOnTheCpu(engine), testing::Not(Contains(HasSubstr("engine")))) << engine;
  }
}

TEST(EngineField, CudaTakesCudnnOrSaysWhatIsMissing) {
  LSEG_SKIP_WITHOUT(Device::kCuda);
  Context context(Device::kCuda);
  std::map<std::string, std::string> engines;
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  solver.set_base_lr(0);
  solver.set_lr_policy("fixed");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  const auto make = [&](const std::string& engine) {
    auto parameters = std::make_shared<ParameterSet>(Device::kCuda);
    engines = Net(Definition(engine), BuiltinLayers(), context, parameters, options).engines();
  };
  make("engine: CAFFE");
  EXPECT_THAT(engines, testing::Not(Contains(testing::Pair(testing::_, "cudnn"))));
  const std::string error = ErrorOf([&] { make("engine: CUDNN"); });
  options.library = "cublas";  // asks the library what it supports
  EXPECT_EQ(ErrorOf([&] { make(""); }), error);
  options.library = "mkl";
  EXPECT_THAT(ErrorOf([&] { make(""); }), HasSubstr("no library has a convolution engine 'mkl'"));
  if (context.Describe().starts_with("softgpu")) {
    EXPECT_THAT(error, HasSubstr("the device is softgpu"));
    return;
  }
  if (!error.empty()) GTEST_SKIP() << error;
  options.library.clear();
  make("engine: CUDNN");
  EXPECT_THAT(engines, Contains(testing::Pair("c forward", "cudnn")));
  EXPECT_THAT(engines, Contains(testing::Pair("c backward weights", "cudnn")));
}

// NetOptions::engines: obeyed where the device has them, chosen as if they had not been named where
// it has not.
TEST(EnginesOfAnEarlierRun, ThoseThatAreMissingAreChosenAnew) {
  for (const Device device : {Device::kCpu, Device::kCuda}) {
    if (device == Device::kCuda && !BuiltWithCuda()) continue;
    Context context(device, 1);
    NetOptions options;
    const auto make = [&] {
      return Net(Definition(""), BuiltinLayers(), context, std::make_shared<ParameterSet>(device),
                 options);
    };
    const Net usual = make();
    ASSERT_EQ(usual.engines().count("c forward"), 1u);
    const std::string last_resort = device == Device::kCpu ? "reference" : "direct";
    options.engines = {{"c forward", last_resort}};
    const Net obeying = make();
    EXPECT_EQ(obeying.engines().at("c forward"), last_resort);
    EXPECT_THAT(obeying.notes(), testing::Not(Contains(HasSubstr("has not all engines"))));
    options.engines = {{"c forward", "abacus"}};
    const Net elsewhere = make();
    EXPECT_EQ(elsewhere.engines(), usual.engines());
    EXPECT_THAT(elsewhere.notes(), Contains(HasSubstr("(c forward: abacus)")));
  }
}

}  // namespace
}  // namespace lseg
