// The pass fuse_relu_gradients: which ReLUs' gradients go into the op before, and that every number
// stays as it is.
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

// Two stages with a score map each. Gradients of a ReLU's output come from a convolution (a, d),
// from the score layer and the pooling, in this order (b), and from the score layer alone (e);
// `score` says where the first score layer stands. The ReLU of f has a slope, that of the average's
// input goes into the average's gradient.
std::string TwoStages(bool score_last) {
  const std::string pool = HalvingText("pool", "b");
  const std::string score = ConvText("score1", "b", "num_output: 3 kernel_size: 1");
  return InputText("data", "dim: 2 dim: 3 dim: 11 dim: 13") +
         InputText("label1", "dim: 2 dim: 3 dim: 11 dim: 13") +
         InputText("label2", "dim: 2 dim: 3 dim: 6 dim: 7") +
         InputText("label3", "dim: 2 dim: 3 dim: 3 dim: 4") + Conv3x3Text("a", "data") +
         ReluText("a") + Conv3x3Text("b", "a") + ReluText("b") +
         (score_last ? pool + score : score + pool) + Conv3x3Text("d", "pool") + ReluText("d") +
         Conv3x3Text("e", "d") + ReluText("e") +
         ConvText("score2", "e", "num_output: 3 kernel_size: 1") + Conv3x3Text("f", "d") +
         ReluText("f", "relu_param { negative_slope: 0.1 }") + Conv3x3Text("g", "f") +
         ReluText("g") +
         LayerText("average", "Pooling", "g",
                   "pooling_param { pool: AVE kernel_size: 2 stride: 2 }") +
         ConvText("score3", "average", "num_output: 3 kernel_size: 1") +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'score1' bottom: 'label1' top: 'l1' }\n" +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'score2' bottom: 'label2' top: 'l2' }\n" +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'score3' bottom: 'label3' top: 'l3' }\n";
}

class FuseReluGradients : public testing::TestWithParam<std::tuple<Device, Precision>> {};

// Bit for bit: the same products are summed in the same order, and rounded at the same places.
TEST_P(FuseReluGradients, LeavesTheNumbersAsTheyAre) {
  const auto [device, precision] = GetParam();
  LSEG_SKIP_WITHOUT(device);
  for (const bool score_last : {false, true}) {
    const std::string text = TwoStages(score_last);
    for (const std::set<std::string>& others :
         std::vector<std::set<std::string>>{{}, {"assign_formats"}, {"fuse_conv_relu"}}) {
      if (!others.empty() && (precision != Precision::kF32 || score_last)) continue;
      std::set<std::string> without = others;
      without.insert("fuse_relu_gradients");
      const Trained fused = TrainOnce(text, device, precision, others);
      const Trained apart = TrainOnce(text, device, precision, without);
      EXPECT_EQ(apart.ops.at("relu_backward"), 6);
      EXPECT_EQ(fused.ops.at("relu_backward"), 1) << "the one with a slope";
      EXPECT_EQ(fused.nodes, apart.nodes - 5);
      for (const auto& [key, gradient] : apart.gradients) {
        EXPECT_EQ(gradient, fused.gradients.at(key)) << key;
        EXPECT_TRUE(std::any_of(gradient.begin(), gradient.end(), [](float v) { return v != 0; }))
            << key;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, FuseReluGradients,
                         testing::Combine(testing::Values(Device::kCpu),
                                          testing::Values(Precision::kF32, Precision::kBF16)),
                         [](const auto& info) { return ToString(std::get<1>(info.param)); });
INSTANTIATE_TEST_SUITE_P(Cuda, FuseReluGradients,
                         testing::Combine(testing::Values(Device::kCuda),
                                          testing::Values(Precision::kF32, Precision::kTf32,
                                                          Precision::kBF16, Precision::kF16)),
                         [](const auto& info) { return ToString(std::get<1>(info.param)); });

}  // namespace
}  // namespace lseg
