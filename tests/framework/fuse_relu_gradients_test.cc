// The pass fuse_relu_gradients: which ReLUs' gradients go into the op before, and that every number
// stays as it is.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "framework/net.h"
#include "kernels/runtime/random.h"
#include "tests/bf16.h"
#include "tests/device.h"

namespace lseg {
namespace {

std::string Layer(const std::string& name, const std::string& type, const std::string& bottom,
                  const std::string& param) {
  return "layer { name: '" + name + "' type: '" + type + "' bottom: '" + bottom + "' top: '" +
         name + "' " + param + " }\n";
}

std::string Input(const std::string& name, const std::string& dims) {
  return "layer { name: '" + name + "' type: 'Input' top: '" + name + "' input_param { shape { " +
         dims + " } } }\n";
}

std::string Conv(const std::string& name, const std::string& bottom, const std::string& more) {
  return Layer(name, "Convolution", bottom,
               "convolution_param { weight_filler { type: 'msra' } " + more + " }");
}

std::string Conv3x3(const std::string& name, const std::string& bottom) {
  return Conv(name, bottom, "num_output: 16 kernel_size: 3 pad: 1");
}

std::string Relu(const std::string& blob, const std::string& param = "") {
  return "layer { name: 'relu_" + blob + "' type: 'ReLU' bottom: '" + blob + "' top: '" + blob +
         "' " + param + " }\n";
}

// Two stages with a score map each. Gradients of a ReLU's output come from a convolution (a, d),
// from the score layer and the pooling, in this order (b), and from the score layer alone (e);
// `score` says where the first score layer stands. The ReLU of f has a slope, that of the average's
// input goes into the average's gradient.
std::string TwoStages(bool score_last) {
  const std::string pool =
      Layer("pool", "Pooling", "b", "pooling_param { kernel_size: 2 stride: 2 }");
  const std::string score = Conv("score1", "b", "num_output: 3 kernel_size: 1");
  return Input("data", "dim: 2 dim: 3 dim: 11 dim: 13") +
         Input("label1", "dim: 2 dim: 3 dim: 11 dim: 13") +
         Input("label2", "dim: 2 dim: 3 dim: 6 dim: 7") +
         Input("label3", "dim: 2 dim: 3 dim: 3 dim: 4") + Conv3x3("a", "data") + Relu("a") +
         Conv3x3("b", "a") + Relu("b") + (score_last ? pool + score : score + pool) +
         Conv3x3("d", "pool") + Relu("d") + Conv3x3("e", "d") + Relu("e") +
         Conv("score2", "e", "num_output: 3 kernel_size: 1") + Conv3x3("f", "d") +
         Relu("f", "relu_param { negative_slope: 0.1 }") + Conv3x3("g", "f") + Relu("g") +
         Layer("average", "Pooling", "g", "pooling_param { pool: AVE kernel_size: 2 stride: 2 }") +
         Conv("score3", "average", "num_output: 3 kernel_size: 1") +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'score1' bottom: 'label1' top: 'l1' }\n" +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'score2' bottom: 'label2' top: 'l2' }\n" +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'score3' bottom: 'label3' top: 'l3' }\n";
}

struct Outcome {
  std::map<std::string, std::vector<float>> gradients;
  int nodes = 0, relu_gradients = 0;
};

Outcome Train(const std::string& text, Device device, Precision precision,
              const std::set<std::string>& without) {
  Context context(device);
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  options.precision = precision;
  options.without_passes = without;
  Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
          std::make_shared<ParameterSet>(device), options);
  Random random(3, 0);
  for (const char* blob : {"data", "label1", "label2", "label3"}) {
    float* values = net.InputF32(blob);
    for (int64_t i = 0; i < net.Desc(blob).shape.Count(); ++i) {
      const float value = random.Uniform(-1, 1);
      values[i] = blob[0] == 'd' ? value : static_cast<float>(value > 0);
    }
  }
  net.Forward();
  net.Backward();
  Outcome outcome;
  for (const NetParam& param : net.params()) {
    outcome.gradients[param.key] = net.Gradient(param.key);
  }
  outcome.nodes = static_cast<int>(net.graph().nodes.size());
  for (const Node& node : net.graph().nodes) {
    outcome.relu_gradients += node.op->Name() == "relu_backward";
  }
  return outcome;
}

class FuseReluGradients : public testing::TestWithParam<std::tuple<Device, Precision>> {};

// Bit for bit: the same products are summed in the same order, and rounded at the same places.
TEST_P(FuseReluGradients, LeavesTheNumbersAsTheyAre) {
  const auto [device, precision] = GetParam();
  LSEG_SKIP_WITHOUT(device);
  LSEG_SKIP_WITHOUT_BF16(device, precision == Precision::kBF16);
  for (const bool score_last : {false, true}) {
    const std::string text = TwoStages(score_last);
    for (const std::set<std::string>& others :
         std::vector<std::set<std::string>>{{}, {"assign_formats"}, {"fuse_conv_relu"}}) {
      if (!others.empty() && (precision != Precision::kF32 || score_last)) continue;
      std::set<std::string> without = others;
      without.insert("fuse_relu_gradients");
      const Outcome fused = Train(text, device, precision, others);
      const Outcome apart = Train(text, device, precision, without);
      EXPECT_EQ(apart.relu_gradients, 6);
      EXPECT_EQ(fused.relu_gradients, 1) << "the one with a slope";
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
