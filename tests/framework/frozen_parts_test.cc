// Convolutions of which the weight or the bias alone learns: its gradient is that of both learning.
#include <gtest/gtest.h>

#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

class FrozenParts : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(FrozenParts);

std::string LrMults(float weight, float bias) {
  return "param { lr_mult: " + std::to_string(weight) +
         " } param { lr_mult: " + std::to_string(bias) + " }";
}

// First layer, one of blocks, score layer, each with these lr_mults.
std::string NetText(const std::string& lr_mults) {
  return InputText("data", "dim: 2 dim: 3 dim: 6 dim: 7") +
         InputText("label", "dim: 2 dim: 2 dim: 6 dim: 7") +
         ConvText("first", "data", "num_output: 16 kernel_size: 3 pad: 1", lr_mults) +
         ReluText("first") +
         ConvText("second", "first", "num_output: 16 kernel_size: 3 pad: 1", lr_mults) +
         ReluText("second") +
         ConvText("score", "second", "num_output: 2 kernel_size: 1", lr_mults) +
         LossText("loss", "score", "label");
}

// Engines may share their sums out otherwise without a bias: 84 products in f32 and in another
// order.
void CheckParts(Device device, Precision precision) {
  const Trained both = TrainOnce(NetText(LrMults(1, 1)), device, precision, {}, true);
  const Trained weights = TrainOnce(NetText(LrMults(1, 0)), device, precision, {}, true);
  const Trained biases = TrainOnce(NetText(LrMults(0, 1)), device, precision, {}, true);
  EXPECT_EQ(weights.gradients.size(), 3u);
  EXPECT_EQ(biases.gradients.size(), 3u);
  for (const Trained& part : {weights, biases}) {
    for (const auto& [key, gradient] : part.gradients) {
      EXPECT_LT(Distance(both.gradients.at(key), gradient), 1e-5) << key;
    }
  }
}

TEST_P(FrozenParts, LeaveTheOtherPartsGradients) {
  LSEG_SKIP_WITHOUT(GetParam());
  CheckParts(GetParam(), Precision::kF32);
}

TEST_P(FrozenParts, LeaveTheOtherPartsGradientsInBf16) {
  LSEG_SKIP_WITHOUT(GetParam());
  CheckParts(GetParam(), Precision::kBF16);
}

}  // namespace
}  // namespace lseg
