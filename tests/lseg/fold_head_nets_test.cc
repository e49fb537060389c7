// The folded head in nets that are not L-Seg, on all devices: what reads its answer, and what is no
// head.
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

struct HeadNet {
  std::string data = "dim: 2 dim: 3 dim: 12 dim: 14";
  std::string scores = "2";  // channels of a score map, and of what upsamples it
  std::string upsampling = "kernel_size: 4 stride: 2";
  std::string offset = "1";  // of the crop behind that
  std::string slice_axis = "1";
  std::string fusion = "kernel_size: 1";
};

// Two score maps, one of them upsampled, cropped, sliced, joined by class and fused: `prob`.
std::string HeadText(const HeadNet& net = {}) {
  const std::string axis = "slice_param { axis: " + net.slice_axis + " }";
  std::string text =
      InputText("data", net.data) + HalvingText("half", "data") +
      ConvText("score1", "data", "kernel_size: 1 num_output: " + net.scores) +
      ConvText("score2", "half", "kernel_size: 1 num_output: " + net.scores) +
      LayerText("up", "Deconvolution", "score2",
                "param { lr_mult: 0 } param { lr_mult: 0 } convolution_param { num_output: " +
                    net.scores + " " + net.upsampling + " }") +
      JoinedText("crop1", "Crop", {"score1", "data"}, {"side1"}, "crop_param { offset: 0 }") +
      JoinedText("crop2", "Crop", {"up", "data"}, {"side2"},
                 "crop_param { offset: " + net.offset + " }") +
      JoinedText("slice1", "Slice", {"side1"}, {"x1", "y1"}, axis) +
      JoinedText("slice2", "Slice", {"side2"}, {"x2", "y2"}, axis);
  for (const std::string c : {"x", "y"}) {
    text += JoinedText("maps_" + c, "Concat", {c + "1", c + "2"}, {"maps_" + c}) +
            ConvText("fused_" + c, "maps_" + c, "num_output: 1 " + net.fusion);
  }
  return text + JoinedText("fused", "Concat", {"fused_x", "fused_y"}, {"fused"}) +
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
  const NetDefinition definition = NetDefinition::FromText(text, "test.prototxt");
  Net net(definition, BuiltinLayers(), context, std::make_shared<ParameterSet>(device), options);
  FillInputs(definition, &net);
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
      HeadText() + JoinedText("cut", "Slice", {"prob"}, {"x", "y"}) +
      LayerText("peak", "Pooling", "prob", "pooling_param { kernel_size: 3 stride: 1 pad: 1 }") +
      JoinedText("twice", "Eltwise", {"prob", "prob"}, {"twice"});
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

// What looks like a head and is none runs op by op.
TEST_P(FoldHeadNets, LeavesOtherNetsAlone) {
  LSEG_SKIP_WITHOUT(GetParam());
  const std::vector<std::pair<std::string, HeadNet>> nets = {
      {"upsampled by 1",
       {.data = "dim: 1 dim: 3 dim: 1 dim: 2",
        .upsampling = "kernel_size: 2 stride: 1",
        .offset = "0"}},
      {"upsampled by more than the kernel can",
       {.upsampling = "kernel_size: 256 stride: 128", .offset = "20"}},
      {"cut by rows", {.scores = "1", .slice_axis = "2"}},
      {"cut by images", {.scores = "1", .slice_axis = "0"}},
      {"fused with a border",
       {.data = "dim: 2 dim: 3 dim: 3 dim: 3", .fusion = "kernel_size: 1 pad: 1 stride: 2"}},
  };
  for (const auto& [what, net] : nets) {
    SCOPED_TRACE(what);
    const Answers got = Infer(HeadText(net), GetParam(), {});
    EXPECT_FALSE(got.folded);
    EXPECT_EQ(got.outputs, Infer(HeadText(net), GetParam(), {"fold_head"}).outputs);
  }
}

}  // namespace
}  // namespace lseg
