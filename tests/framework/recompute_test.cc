// The pass recompute: the first layer's map is computed again for its gradient, which changes no
// bit and takes less memory.
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "framework/net.h"
#include "kernels/runtime/random.h"

namespace lseg {
namespace {

std::string Conv(const std::string& name, const std::string& bottom, int outputs, int kernel) {
  return "layer { name: '" + name + "' type: 'Convolution' bottom: '" + bottom + "' top: '" + name +
         "' convolution_param { weight_filler { type: 'msra' } bias_filler { type: 'constant' "
         "value: "
         "0.1 } num_output: " +
         std::to_string(outputs) + " kernel_size: " + std::to_string(kernel) +
         " pad: " + std::to_string(kernel / 2) + " } }\nlayer { name: 'relu_" + name +
         "' type: 'ReLU' bottom: '" + name + "' top: '" + name + "' }\n";
}

std::string Text() {
  return "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: "
         "21 "
         "dim: 18 } } }\n"
         "layer { name: 'label' type: 'Input' top: 'label' input_param { shape { dim: 2 dim: 3 "
         "dim: "
         "21 dim: 18 } } }\n" +
         Conv("a", "data", 32, 3) + Conv("b", "a", 32, 3) + Conv("c", "b", 32, 3) +
         Conv("d", "c", 32, 3) + Conv("e", "d", 32, 3) + Conv("f", "e", 3, 1) +
         "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'f' bottom: 'label' top: 'loss' }\n";
}

struct Outcome {
  std::map<std::string, std::vector<float>> gradients;
  std::map<std::string, std::vector<float>> parameters;
  std::vector<float> losses;
  int64_t arena = 0;
  int of_first_layer = 0, convs = 0;  // forward convolutions
};

Outcome Train(const std::set<std::string>& without, const std::vector<std::string>& keep = {},
              int64_t multiply_adds = kRecomputeFirst) {
  Context context(Device::kCpu, 2);
  caffe::SolverParameter solver;
  solver.set_type("SGD");
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.solver = &solver;
  options.without_passes = without;
  options.keep = keep;
  options.recompute = {multiply_adds};
  const auto parameters = std::make_shared<ParameterSet>();
  Net net(NetDefinition::FromText(Text(), "test.prototxt"), BuiltinLayers(), context, parameters,
          options);
  Outcome outcome;
  outcome.arena = net.memory().arena;
  for (const Node& node : net.graph().nodes) {
    const bool conv = node.op->Name() == "conv_forward";
    outcome.of_first_layer += node.layer == "a" && conv;
    outcome.convs += conv;
  }
  for (int step = 0; step < 3; ++step) {
    Random random(3, step);
    for (const char* blob : {"data", "label"}) {
      float* values = net.InputF32(blob);
      for (int64_t i = 0; i < net.Desc(blob).shape.Count(); ++i) {
        const float value = random.Uniform(-1, 1);
        values[i] = blob[0] == 'd' ? value : static_cast<float>(value > 0);
      }
    }
    net.Forward();
    net.Backward();
    net.Update(0.1f, step);
    outcome.losses.push_back(net.LossValue(0));
  }
  for (const NetParam& param : net.params()) {
    outcome.gradients[param.key] = net.Gradient(param.key);
    const Tensor* tensor = parameters->Find(param.key);
    outcome.parameters[param.key].resize(tensor->desc().shape.Count());
    tensor->CopyTo(outcome.parameters[param.key].data());
  }
  return outcome;
}

TEST(Recompute, ChangesNoBit) {
  const Outcome again = Train({}), kept = Train({"recompute"});
  EXPECT_EQ(kept.of_first_layer, 1);
  EXPECT_EQ(again.of_first_layer, 2);
  EXPECT_EQ(again.losses, kept.losses);
  EXPECT_NE(kept.losses[0], kept.losses[2]) << "nothing was learned";
  EXPECT_EQ(again.gradients, kept.gradients);
  EXPECT_EQ(again.parameters, kept.parameters);
}

// When the gradient starts its way back, all maps but that one are in memory.
TEST(Recompute, TakesLessMemory) {
  const Outcome again = Train({}), kept = Train({"recompute"});
  EXPECT_LT(again.arena, kept.arena);
}

// All five maps, each from the one before: 9 x 32 multiply-adds an element.
TEST(Recompute, WhatCostsMoreIsComputedAgainToo) {
  const Outcome all = Train({}, {}, 300), first = Train({}), kept = Train({"recompute"});
  EXPECT_EQ(kept.convs, 6);
  EXPECT_EQ(first.convs, 7);
  EXPECT_EQ(all.convs, 11);
  EXPECT_EQ(all.losses, kept.losses);
  EXPECT_EQ(all.gradients, kept.gradients);
  EXPECT_EQ(all.parameters, kept.parameters);
}

TEST(Recompute, WhatIsReadAfterTheRunStays) { EXPECT_EQ(Train({}, {"a"}).of_first_layer, 1); }

}  // namespace
}  // namespace lseg
