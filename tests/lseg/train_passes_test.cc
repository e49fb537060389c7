// What training does to need less memory, on a net of L-Seg's shape: no bit of a gradient changes.
#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "framework/net.h"
#include "framework/solver_definition.h"
#include "kernels/runtime/random.h"

namespace lseg {
namespace {

constexpr int64_t kHeight = 83, kWidth = 70;  // no multiples of anything

struct Outcome {
  std::map<std::string, std::vector<float>> gradients;
  double loss = 0;
  int64_t arena = 0;
  int forward_convs = 0;
};

Outcome Train(Precision precision, const std::set<std::string>& without, int64_t multiply_adds) {
  const std::string folder = std::string(LSEG_SOURCE_DIR) + "/lseg/";
  Context context(Device::kCpu, 2);
  const SolverDefinition solver = SolverDefinition::FromFile(folder + "demo_solver.prototxt");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver.solver();
  options.precision = precision;
  options.without_passes = without;
  options.recompute = {multiply_adds};
  options.inputs = {{"data", {{2, 3, kHeight, kWidth}}},
                    {"label", {{2, 4, kHeight, kWidth}, DType::kU8}}};
  Net net(NetDefinition::FromFile(folder + "demo_net.prototxt"), BuiltinLayers(), context,
          std::make_shared<ParameterSet>(), options);
  Random random(11, 1);
  float* data = net.InputF32("data");
  for (int64_t i = 0; i < 2 * 3 * kHeight * kWidth; ++i) data[i] = random.Uniform(-50, 50);
  auto* label = static_cast<uint8_t*>(net.Input("label"));
  for (int64_t i = 0; i < 2 * 4 * kHeight * kWidth; ++i) label[i] = random.Below(8) == 0;
  net.Forward();
  net.Backward();
  Outcome outcome;
  outcome.loss = net.Loss();
  outcome.arena = net.memory().arena;
  for (const NetParam& param : net.params()) {
    if (param.lr_mult != 0) outcome.gradients[param.key] = net.Gradient(param.key);
  }
  for (const Node& node : net.graph().nodes) {
    outcome.forward_convs += node.op->Name() == "conv_forward" && node.layer.starts_with("conv");
  }
  return outcome;
}

class TrainPasses : public testing::TestWithParam<Precision> {};
INSTANTIATE_TEST_SUITE_P(Cpu, TrainPasses, testing::Values(Precision::kF32, Precision::kBF16),
                         [](const auto& info) { return ToString(info.param); });

TEST_P(TrainPasses, DelayedGradientsAreTheSame) {
  const Outcome at_once = Train(GetParam(), {"delay_gradients"}, kRecomputeFirst);
  const Outcome delayed = Train(GetParam(), {}, kRecomputeFirst);
  ASSERT_EQ(at_once.gradients.size(), 44);  // weight and bias of 13 + 5 + 4 layers
  EXPECT_GT(at_once.loss, 0);
  EXPECT_EQ(delayed.loss, at_once.loss);
  EXPECT_EQ(delayed.gradients, at_once.gradients);
  // The first stage's gradient no longer waits for the others. (In bf16 this net's sixteen channels
  // weigh no more than side maps and their gradients, which are f32's.)
  if (GetParam() == Precision::kF32) {
    EXPECT_LT(delayed.arena, at_once.arena);
  }
}

TEST_P(TrainPasses, WhatIsComputedAgainGivesTheSame) {
  const Outcome kept = Train(GetParam(), {"recompute"}, 0);
  EXPECT_EQ(kept.forward_convs, 13);
  int64_t arena = kept.arena;
  // The first layer's, with 27 multiply-adds an element; then the first stage's, of 16 channels.
  int convs = 14;
  for (const int64_t multiply_adds : {kRecomputeFirst, int64_t{144}}) {
    const Outcome again = Train(GetParam(), {}, multiply_adds);
    EXPECT_GE(again.forward_convs, convs++);
    EXPECT_EQ(again.loss, kept.loss);
    EXPECT_EQ(again.gradients, kept.gradients);
    EXPECT_LT(again.arena, arena);
    arena = again.arena;
  }
  // All of them.
  const Outcome all = Train(GetParam(), {}, 9 * 512);
  EXPECT_EQ(all.forward_convs, 26);
  EXPECT_EQ(all.gradients, kept.gradients);
}

}  // namespace
}  // namespace lseg
