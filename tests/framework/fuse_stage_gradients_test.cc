// The pass fuse_stage_gradients: which gradients become one op, and that the numbers stay as they
// are, but for rounding.
#include <gtest/gtest.h>

#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

constexpr const char* kPass = "fuse_stage_gradients";

// Three stages of odd sizes, each with a score map; the score layer of the first stands before its
// pooling, that of the second behind it, the third has no pooling. score: of the first score layer.
std::string ThreeStages(const std::string& score = "num_output: 3 kernel_size: 1",
                        const std::string& score_params = "") {
  return InputText("data", "dim: 2 dim: 3 dim: 11 dim: 13") +
         InputText("label1", "dim: 2 dim: 3 dim: 11 dim: 13") +
         InputText("label2", "dim: 2 dim: 3 dim: 6 dim: 7") +
         InputText("label3", "dim: 2 dim: 3 dim: 3 dim: 4") + Conv3x3Text("a", "data") +
         ReluText("a") + ConvText("score1", "a", score, score_params) + HalvingText("pool1", "a") +
         Conv3x3Text("b", "pool1") + ReluText("b") + HalvingText("pool2", "b") +
         ConvText("score2", "b", "num_output: 3 kernel_size: 1 bias_term: false") +
         Conv3x3Text("c", "pool2") + ReluText("c") +
         ConvText("score3", "c", "num_output: 3 kernel_size: 1") +
         LossText("l1", "score1", "label1") + LossText("l2", "score2", "label2") +
         LossText("l3", "score3", "label3");
}

class FuseStageGradients : public testing::TestWithParam<Precision> {
 protected:
  void SetUp() override { LSEG_SKIP_WITHOUT(Device::kCuda); }
  Trained Train(const std::string& text, const std::set<std::string>& without,
                bool accumulate = false) {
    return TrainOnce(text, Device::kCuda, GetParam(), without, accumulate);
  }
};

TEST_P(FuseStageGradients, LeavesTheNumbersAsTheyAre) {
  const Precision precision = GetParam();
  // Sums of a few hundred products in another order; in 16 bits a gradient of a map is rounded once
  // instead of twice, each time by at most 2^-9 (2^-12 in f16) of itself, half of the elements down
  // and half of them up.
  const double tolerance = precision == Precision::kBF16   ? 4e-3
                           : precision == Precision::kF16  ? 5e-4
                           : precision == Precision::kTf32 ? 1e-3
                                                           : 2e-6;
  for (const std::set<std::string>& others :
       std::vector<std::set<std::string>>{{}, {"fuse_relu_gradients"}, {"fuse_conv_relu"}}) {
    for (const bool accumulate : {false, true}) {
      std::set<std::string> without = others;
      without.insert(kPass);
      const Trained fused = Train(ThreeStages(), others, accumulate);
      const Trained apart = Train(ThreeStages(), without, accumulate);
      EXPECT_EQ(fused.ops.at("stage_gradient"), 3);
      EXPECT_EQ(fused.ops.count("pool_backward"), 0u);
      EXPECT_EQ(apart.ops.count("stage_gradient"), 0u);
      EXPECT_EQ(apart.ops.at("pool_backward"), 2);
      for (const char* op : {"conv_backward data", "conv_backward weights"}) {
        EXPECT_EQ(fused.ops.at(op), apart.ops.at(op) - 3) << op;
      }
      for (const auto& [key, gradient] : apart.gradients) {
        EXPECT_LT(Distance(gradient, fused.gradients.at(key)), tolerance)
            << key << (accumulate ? ", twice" : "");
      }
    }
  }
}

// What is no stage's end keeps its ops: the first stage here, while the others are fused.
TEST_P(FuseStageGradients, OtherNetsKeepTheirOps) {
  const auto stages = [&](const std::string& text) {
    const Trained trained = Train(text, {});
    return trained.ops.count("stage_gradient") == 0 ? 0 : trained.ops.at("stage_gradient");
  };
  EXPECT_EQ(stages(ThreeStages()), 3);
  EXPECT_EQ(stages(ThreeStages("num_output: 3 kernel_size: 3 pad: 1")), 2);
  EXPECT_EQ(stages(ThreeStages("num_output: 3 kernel_size: 1",
                               "param { lr_mult: 0 } param { lr_mult: 0 }")),
            2)
      << "its weights do not learn";
  // A third reader of the map.
  const std::string more =
      ConvText("other", "a", "num_output: 3 kernel_size: 1") + LossText("l4", "other", "label1");
  EXPECT_EQ(stages(ThreeStages() + more), 2);
  // More outputs than a score layer may have.
  const std::string label = InputText("label4", "dim: 2 dim: 9 dim: 3 dim: 4");
  const std::string wide =
      ConvText("wide", "pool2", "num_output: 9 kernel_size: 1") + LossText("l5", "wide", "label4");
  EXPECT_EQ(stages(label + ThreeStages() + wide), 3);
}

INSTANTIATE_TEST_SUITE_P(Cuda, FuseStageGradients,
                         testing::Values(Precision::kF32, Precision::kTf32, Precision::kBF16,
                                         Precision::kF16),
                         [](const auto& info) { return ToString(info.param); });

// A CPU's ops for these are vectors each, and fast enough.
TEST(CpuStageGradients, StayAsTheyAre) {
  const Trained trained = TrainOnce(ThreeStages(), Device::kCpu, Precision::kF32, {});
  EXPECT_EQ(trained.ops.count("stage_gradient"), 0u);
  EXPECT_EQ(trained.ops.at("pool_backward"), 2);
}

}  // namespace
}  // namespace lseg
