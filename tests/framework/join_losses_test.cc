// The pass join_losses: which bin losses become one op, and that every number stays as it is.
#include <gtest/gtest.h>

#include <memory>

#include "framework/net.h"
#include "kernels/runtime/random.h"
#include "tests/device.h"

namespace lseg {
namespace {

std::string Input(const std::string& name, int channels) {
  return "layer { name: '" + name + "' type: 'Input' top: '" + name +
         "' input_param { shape { dim: 2 dim: " + std::to_string(channels) +
         " dim: 9 dim: 7 } } }\n";
}

std::string Conv(const std::string& name) {
  return "layer { name: '" + name + "' type: 'Convolution' bottom: 'data' top: '" + name +
         "' convolution_param { num_output: 3 kernel_size: 3 pad: 1 weight_filler { type: 'msra' } "
         "} "
         "}\n";
}

std::string Loss(const std::string& name, const std::string& logits, const std::string& label,
                 float weight, int key) {
  return "layer { name: '" + name + "' type: 'MultiChannelBinSigmoidCrossEntropyLoss' bottom: '" +
         logits + "' bottom: '" + label + "' top: '" + name +
         "' loss_weight: " + std::to_string(weight) +
         " mcbsce_loss_param { num_label: 3 key: " + std::to_string(key) + " } }\n";
}

struct Outcome {
  std::map<std::string, std::vector<float>> numbers;
  int losses = 0, gradients = 0;  // nodes
};

Outcome Train(const std::string& text, Device device, const std::set<std::string>& without) {
  Context context(device);
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  options.without_passes = without;
  for (const char* label : {"label", "other"}) {
    options.inputs[label] = {{2, 1, 9, 7}, DType::kU8};
  }
  Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
          std::make_shared<ParameterSet>(device), options);
  Random random(9, 0);
  float* data = net.InputF32("data");
  for (int64_t i = 0; i < net.Desc("data").shape.Count(); ++i) data[i] = random.Uniform(-1, 1);
  for (const char* label : {"label", "other"}) {
    auto* classes = static_cast<uint8_t*>(net.Input(label));
    for (int64_t i = 0; i < net.Desc(label).shape.Count(); ++i) {
      const uint32_t draw = static_cast<uint32_t>(random.Below(12));
      classes[i] = static_cast<uint8_t>(draw < 4 ? draw : 0);
    }
  }
  net.Forward();
  net.Backward();
  Outcome outcome;
  for (size_t i = 0; i < net.losses().size(); ++i) {
    outcome.numbers[net.losses()[i].name] = {net.LossValue(static_cast<int>(i))};
  }
  for (const NetParam& param : net.params()) {
    outcome.numbers[param.key] = net.Gradient(param.key);
  }
  for (const Node& node : net.graph().nodes) {
    outcome.losses += node.op->Name() == "bin_loss_forward";
    outcome.gradients += node.op->Name() == "bin_loss_backward";
  }
  return outcome;
}

class JoinLosses : public testing::TestWithParam<Device> {};
LSEG_ON_ALL_DEVICES(JoinLosses);

// Bit for bit: each loss is computed as it is alone.
TEST_P(JoinLosses, LeavesTheNumbersAsTheyAre) {
  LSEG_SKIP_WITHOUT(GetParam());
  std::string text = Input("data", 3) + Input("label", 1) + Input("other", 1);
  for (const char* name : {"a", "b", "c", "d", "e"}) text += Conv(name);
  text += Loss("loss_a", "a", "label", 1, 3) + Loss("loss_b", "b", "label", 0.5f, 3) +
          Loss("weightless", "c", "label", 0, 3) + Loss("loss_c", "c", "label", 2, 3) +
          // another label, another key
          Loss("loss_d", "d", "other", 1, 3) + Loss("loss_e", "e", "label", 1, 1);
  const Outcome apart = Train(text, GetParam(), {"join_losses"});
  const Outcome joined = Train(text, GetParam(), {});
  EXPECT_EQ(apart.numbers, joined.numbers);
  EXPECT_EQ(apart.losses, 6);
  EXPECT_EQ(apart.gradients, 5);
  // a, b and one of the two of c; the other of c; d; e.
  EXPECT_EQ(joined.losses, 4);
  EXPECT_LT(joined.gradients, apart.gradients);
}

}  // namespace
}  // namespace lseg
