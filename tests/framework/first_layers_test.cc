// First layers other than L-Seg's, in bf16: what engines do not take from an image to bf16 stays in
// f32 on both sides.
#include <gtest/gtest.h>

#include <memory>

#include "framework/net.h"
#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

class FirstLayers : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(FirstLayers);

// Keeps what ReLUs read off 0, where rounding would decide what they let through.
const std::string kBias = " bias_filler { value: 4 }";

// Layers from `data` (1x3x9x11) to `first`, of 16 channels.
const std::vector<std::string>& FirstLayerTexts() {
  static const std::vector<std::string> texts = [] {
    std::vector<std::string> all;
    for (const char* shape :
         {"kernel_size: 3 pad: 1", "kernel_size: 3 pad: 9", "kernel_size: 3",
          "kernel_size: 3 pad: 1 stride: 2", "kernel_size: 1", "kernel_size: 5 pad: 2",
          "kernel_size: 7 pad: 3 stride: 2", "kernel_size: 3 pad: 2 dilation: 2",
          "kernel_h: 1 kernel_w: 3 pad_h: 0 pad_w: 1"}) {
      all.push_back(ConvText("first", "data", std::string("num_output: 16 ") + shape + kBias));
    }
    // Gradients of a map of three channels are wanted.
    for (const char* shape : {"kernel_size: 3 pad: 1", "kernel_size: 5 pad: 2"}) {
      all.push_back(ConvText("colour", "data", "num_output: 3 kernel_size: 1") +
                    ConvText("first", "colour", std::string("num_output: 16 ") + shape + kBias));
    }
    return all;
  }();
  return texts;
}

std::string NetText(const std::string& first) {
  return InputText("data", "dim: 1 dim: 3 dim: 9 dim: 11") + first + ReluText("first") +
         ConvText("second", "first", "num_output: 16 kernel_size: 3 pad: 1") + ReluText("second") +
         LayerText("pool", "Pooling", "second",
                   "pooling_param { global_pooling: true pool: AVE }") +
         ConvText("score", "pool", "num_output: 2 kernel_size: 1");
}

std::vector<float> Infer(const std::string& text, Device device, Precision precision) {
  Context context(device, 2);
  NetOptions options;
  options.precision = precision;
  const NetDefinition definition = NetDefinition::FromText(text, "test.prototxt");
  Net net(definition, BuiltinLayers(), context, std::make_shared<ParameterSet>(device), options);
  FillInputs(definition, &net);
  net.Forward();
  return net.Read("score");
}

// Numbers rounded to bf16 are off by 2^-9 of themselves, and some four of them meet in a product of
// a score's or a gradient's. Of sums over a map that mostly cancel (the gradient here is the same
// all over it) more remains: an eighth. A wrong side or format is off by as much as all of it.
constexpr double kRounding = 0x1p-3;

TEST_P(FirstLayers, RunInBf16) {
  LSEG_SKIP_WITHOUT(GetParam());
  for (const std::string& first : FirstLayerTexts()) {
    SCOPED_TRACE(first);
    EXPECT_LT(Distance(Infer(NetText(first), GetParam(), Precision::kF32),
                       Infer(NetText(first), GetParam(), Precision::kBF16)),
              kRounding);
  }
}

TEST_P(FirstLayers, LearnInBf16) {
  LSEG_SKIP_WITHOUT(GetParam());
  for (const std::string& first : FirstLayerTexts()) {
    for (const bool inputs_too : {false, true}) {
      const std::string text = (inputs_too ? "force_backward: true " : "") + NetText(first) +
                               InputText("label", "dim: 1 dim: 2 dim: 1 dim: 1") +
                               LossText("loss", "score", "label");
      SCOPED_TRACE(text);
      const Trained exact = TrainOnce(text, GetParam(), Precision::kF32, {});
      const Trained rounded = TrainOnce(text, GetParam(), Precision::kBF16, {});
      EXPECT_EQ(exact.gradients.size(), rounded.gradients.size());
      for (const auto& [key, gradient] : exact.gradients) {
        EXPECT_LT(Distance(gradient, rounded.gradients.at(key)), kRounding) << key;
      }
    }
  }
}

}  // namespace
}  // namespace lseg
