// The folded head in nets that are not L-Seg: what reads its answer, on all devices.
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "framework/net.h"
#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

class FoldHeadNets : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(FoldHeadNets);

std::string Joined(const std::string& name, const std::string& type,
                   const std::vector<std::string>& bottoms, const std::vector<std::string>& tops,
                   const std::string& param = "") {
  std::string text = "layer { name: '" + name + "' type: '" + type + "'";
  for (const std::string& bottom : bottoms) text += " bottom: '" + bottom + "'";
  for (const std::string& top : tops) text += " top: '" + top + "'";
  return text + " " + param + " }\n";
}

// Two score maps, one of them upsampled, cropped, sliced, joined by class and fused: `prob`.
std::string HeadText() {
  std::string text =
      InputText("data", "dim: 2 dim: 3 dim: 12 dim: 14") + HalvingText("half", "data") +
      ConvText("score1", "data", "num_output: 2 kernel_size: 1") +
      ConvText("score2", "half", "num_output: 2 kernel_size: 1") +
      LayerText("up", "Deconvolution", "score2",
                "param { lr_mult: 0 } param { lr_mult: 0 } convolution_param { num_output: 2 "
                "kernel_size: 4 stride: 2 }") +
      Joined("crop1", "Crop", {"score1", "data"}, {"side1"}, "crop_param { offset: 0 }") +
      Joined("crop2", "Crop", {"up", "data"}, {"side2"}, "crop_param { offset: 1 }") +
      Joined("slice1", "Slice", {"side1"}, {"x1", "y1"}) +
      Joined("slice2", "Slice", {"side2"}, {"x2", "y2"});
  for (const std::string c : {"x", "y"}) {
    text += Joined("maps_" + c, "Concat", {c + "1", c + "2"}, {"maps_" + c}) +
            ConvText("fused_" + c, "maps_" + c, "num_output: 1 kernel_size: 1");
  }
  return text + Joined("fused", "Concat", {"fused_x", "fused_y"}, {"fused"}) +
         LayerText("prob", "Sigmoid", "fused", "");
}

struct Answers {
  std::map<std::string, std::vector<float>> outputs;
  bool folded = false;
};

Answers Infer(const std::string& text, Device device, const std::set<std::string>& without) {
  Context context(device, 2);
  NetOptions options;
  options.without_passes = without;
  Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
          std::make_shared<ParameterSet>(device), options);
  Random random(3, 0);
  float* data = net.InputF32("data");
  for (int64_t i = 0; i < net.Desc("data").shape.Count(); ++i) data[i] = random.Uniform(-1, 1);
  net.Forward();
  Answers answers;
  for (const std::string& output : net.outputs()) answers.outputs[output] = net.Read(output);
  for (const Node& node : net.graph().nodes) answers.folded |= node.op->Name() == "fuse_head";
  return answers;
}

// Layers behind the head run behind it. Logits are below 8 here, of either sign: within 8e-5 where
// folded, a quarter of that behind the sigmoid, twice that where the answer is added to itself.
TEST_P(FoldHeadNets, AnswerIsReadByOtherLayers) {
  LSEG_SKIP_WITHOUT(GetParam());
  const std::string text =
      HeadText() + Joined("cut", "Slice", {"prob"}, {"x", "y"}) +
      LayerText("peak", "Pooling", "prob", "pooling_param { kernel_size: 3 stride: 1 pad: 1 }") +
      Joined("twice", "Eltwise", {"prob", "prob"}, {"twice"});
  const Answers plain = Infer(text, GetParam(), {"fold_head"});
  const Answers folded = Infer(text, GetParam(), {});
  EXPECT_FALSE(plain.folded);
  EXPECT_TRUE(folded.folded);
  ASSERT_EQ(plain.outputs.size(), 4u);
  for (const auto& [name, want] : plain.outputs) {
    const std::vector<float>& got = folded.outputs.at(name);
    ASSERT_EQ(got.size(), want.size());
    for (size_t i = 0; i < want.size(); ++i) ASSERT_NEAR(got[i], want[i], 4e-5) << name << " " << i;
  }
}

}  // namespace
}  // namespace lseg
