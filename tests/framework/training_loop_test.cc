// A training loop of the caller's own that writes inputs and rates while a GPU works, and reads
// nothing between the steps: it learns what the CPU, where each step is done at once, learns.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

class TrainingLoopTest : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(TrainingLoopTest);

constexpr int kSteps = 4;  // from the second on, a GPU runs them as they were recorded

std::vector<float> WeightsAfterSteps(Device device) {
  Context context(device, 1);
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  const std::string text = InputText("data", "dim: 1 dim: 3 dim: 8 dim: 8") +
                           InputText("label", "dim: 1 dim: 4 dim: 8 dim: 8") +
                           ConvText("score", "data", "num_output: 4 kernel_size: 1") +
                           LossText("loss", "score", "label");
  auto parameters = std::make_shared<ParameterSet>(device);
  Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context, parameters,
          options);
  float *const data = net.InputF32("data"), *const label = net.InputF32("label");
  const int64_t pixels = net.Desc("data").shape.Count(), labels = net.Desc("label").shape.Count();
  for (int step = 0; step < kSteps; ++step) {
    Random random(3, step);
    for (int64_t i = 0; i < pixels; ++i) data[i] = random.Uniform(-1, 1);
    for (int64_t i = 0; i < labels; ++i) label[i] = static_cast<float>(random.Below(2));
    net.Forward();
    net.Backward();
    net.Update(step % 2 == 0 ? 0.5f : 0.001f, step);
  }
  context.Synchronize();
  std::vector<float> weights(4 * 3);
  parameters->Find("score.weight")->CopyTo(weights.data());
  return weights;
}

TEST_P(TrainingLoopTest, InputsAndRatesAreThoseOfTheirStep) {
  LSEG_SKIP_WITHOUT(GetParam());
  // f32 sums of 64 pixels in two orders; a wrong rate or input is off by 0.01 and more.
  EXPECT_THAT(WeightsAfterSteps(GetParam()),
              testing::Pointwise(testing::FloatNear(1e-5f), WeightsAfterSteps(Device::kCpu)));
}

}  // namespace
}  // namespace lseg
