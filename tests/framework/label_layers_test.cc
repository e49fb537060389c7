// Labels come as bytes; any layer may stand between them and a loss. Each layer type reads a label
// of bytes as it reads the same label in f32.
#include <gtest/gtest.h>

#include <memory>
#include <sstream>

#include "framework/net.h"
#include "tests/device.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

// The rest of a layer that reads `label` (1x2x6x5) and, where it has to, `other` (1x1x6x5).
struct LayerCase {
  const char* type;
  const char* text;
};
constexpr LayerCase kCases[] = {
    {"Concat", "bottom: 'label' bottom: 'other' top: 'out'"},
    {"Convolution",
     "bottom: 'label' top: 'out' convolution_param { num_output: 2 kernel_size: 3 "
     "weight_filler { type: 'msra' } }"},
    {"Crop", "bottom: 'label' bottom: 'other' top: 'out' crop_param { offset: 0 }"},
    // Aligned by coordinates, through the cast.
    {"Pooling",
     "bottom: 'label' top: 'inner' pooling_param { kernel_size: 3 } }"
     "layer { type: 'Crop' bottom: 'label' bottom: 'inner' top: 'out'"},
    {"Deconvolution",
     "bottom: 'label' top: 'out' convolution_param { num_output: 2 kernel_size: 4 stride: 2 "
     "weight_filler { type: 'msra' } }"},
    {"Dropout", "bottom: 'label' top: 'out'"},
    {"Eltwise", "bottom: 'label' bottom: 'label' top: 'out' eltwise_param { coeff: 2 coeff: 1 }"},
    {"MultiChannelBinSigmoidCrossEntropyLoss",
     "bottom: 'label' bottom: 'label' top: 'out' mcbsce_loss_param { num_label: 2 }"},
    {"Pooling", "bottom: 'label' top: 'out' pooling_param { kernel_size: 2 stride: 2 }"},
    {"Pooling", "bottom: 'label' top: 'out' pooling_param { pool: AVE kernel_size: 3 }"},
    {"ReLU", "bottom: 'label' top: 'out'"},
    {"ReLU", "bottom: 'label' top: 'label'"},
    {"Sigmoid", "bottom: 'label' top: 'out'"},
    {"SigmoidCrossEntropyLoss", "bottom: 'label' bottom: 'label' top: 'out'"},
    {"Slice", "bottom: 'label' top: 'out' top: 'out2'"},
    {"Softmax", "bottom: 'label' top: 'out'"},
    {"SoftmaxWithLoss", "bottom: 'label' bottom: 'other' top: 'out'"},
};

class LabelLayers : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(LabelLayers);

// What a net gives whose inputs have the type; their elements are 0 or 1.
std::map<std::string, std::vector<float>> Outputs(const std::string& layers, Device device,
                                                  DType type) {
  Context context(device, 2);
  NetOptions options;
  options.phase = caffe::TRAIN;
  const Shape label{1, 2, 6, 5}, other{1, 1, 6, 5};
  options.inputs = {{"label", {label, type}}, {"other", {other, type}}};
  const std::string text = InputText("label", "dim: 1") + InputText("other", "dim: 1") + layers;
  Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
          std::make_shared<ParameterSet>(device), options);
  for (const auto& [name, desc] : options.inputs) {
    if (!net.HasInput(name)) continue;
    void* values = net.Input(name);
    Random random(3, 0);
    for (int64_t i = 0; i < desc.shape.Count(); ++i) {
      const auto value = static_cast<uint8_t>(random.Below(2));
      if (type == DType::kU8) static_cast<uint8_t*>(values)[i] = value;
      if (type == DType::kF32) static_cast<float*>(values)[i] = value;
    }
  }
  net.Fetch(1);
  net.Forward();
  std::map<std::string, std::vector<float>> outputs;
  for (const std::string& output : net.outputs()) outputs[output] = net.Read(output);
  return outputs;
}

TEST_P(LabelLayers, ReadBytesAsTheyReadFloats) {
  LSEG_SKIP_WITHOUT(GetParam());
  for (const LayerCase& c : kCases) {
    const std::string layer =
        std::string("layer { name: 'layer' type: '") + c.type + "' " + c.text + " }";
    SCOPED_TRACE(layer);
    const auto floats = Outputs(layer, GetParam(), DType::kF32);
    EXPECT_EQ(Outputs(layer, GetParam(), DType::kU8), floats);
    bool all_zero = true;
    for (const auto& [name, values] : floats) {
      for (const float value : values) all_zero = all_zero && value == 0;
    }
    EXPECT_FALSE(all_zero) << "the case tells nothing";
  }
}

TEST(LabelLayerCases, NameEveryTypeThatReads) {
  std::set<std::string> named = {"Input"};
  for (const LayerCase& c : kCases) named.insert(c.type);
  std::istringstream names(BuiltinLayers().Names());
  for (std::string name; std::getline(names >> std::ws, name, ',');) {
    EXPECT_EQ(named.count(name), 1u) << name;
  }
}

// A class map that was cut is, for a loss, the map cut by hand; and one that goes straight into a
// loss is not cast. All classes that labels can tell apart are in it.
TEST_P(LabelLayers, ClassMapsSurviveTheWayToALoss) {
  LSEG_SKIP_WITHOUT(GetParam());
  const auto loss = [](const Shape& label, int64_t first, const std::string& cut,
                       const std::string& map) {
    Context context(GetParam(), 2);
    NetOptions options;
    options.phase = caffe::TRAIN;
    options.inputs["label"] = {label, DType::kU8};
    const std::string text =
        InputText("data", "dim: 1 dim: 255 dim: 4 dim: 64") + InputText("label", "dim: 1") + cut +
        "layer { type: 'SoftmaxWithLoss' bottom: 'data' bottom: '" + map + "' top: 'loss' }";
    Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
            std::make_shared<ParameterSet>(GetParam()), options);
    Random random(3, 0);
    float* data = net.InputF32("data");
    for (int64_t i = 0; i < 255 * 4 * 64; ++i) data[i] = random.Uniform(-1, 1);
    auto* bytes = static_cast<uint8_t*>(net.Input("label"));
    for (int64_t i = 0; i < label.Count(); ++i) bytes[i] = static_cast<uint8_t>((first + i) % 255);
    net.Forward();
    bool casts = false;
    for (const Node& node : net.graph().nodes) casts |= node.op->Name() == "cast";
    EXPECT_EQ(casts, !cut.empty());
    return net.LossValue(0);
  };
  const std::string cut =
      "layer { name: 'cut' type: 'Slice' bottom: 'label' top: 'above' top: 'map' "
      "slice_param { axis: 2 slice_point: 2 } }";
  EXPECT_EQ(loss({1, 1, 6, 64}, 255 - 128, cut, "map"), loss({1, 1, 4, 64}, 0, "", "label"));
}

}  // namespace
}  // namespace lseg
