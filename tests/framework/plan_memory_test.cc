// What is said of a net's memory, and when.
#include <gtest/gtest.h>

#include "framework/net.h"

namespace lseg {
namespace {

TEST(MemoryPlan, IsToldWithItsParts) {
  MemoryPlan plan;
  plan.arena = 1'354'400'000;
  plan.workspace = 9'960'000;
  plan.parameters = 49'000;
  EXPECT_EQ(ToString(plan), "1364 MB (activations 1354 MB, workspace 10.0 MB)");
  EXPECT_EQ(ToString(MemoryPlan()), "0.0 MB");
}

TEST(MemoryPlan, IsWhatPackingTakesWhereThatIsMore) {
  MemoryPlan plan;
  plan.arena = 30'000'000;
  plan.parameters = 1'000'000;
  plan.released = 59'000'000;
  plan.states = 100'000'000;
  EXPECT_EQ(plan.Total(), 160'000'000);
  EXPECT_EQ(ToString(plan),
            "160 MB (parameters 60 MB, packed weights and the solver's memory 100 MB)");
  plan.arena = 60'000'000;
  EXPECT_EQ(plan.Total(), 161'000'000);
  EXPECT_EQ(ToString(plan),
            "161 MB (activations 60 MB, parameters 1.0 MB, packed weights and the solver's memory "
            "100 MB)");
}

TEST(MemoryPlan, IsToldBeforeTheNetIsThere) {
  Context context;
  int told = 0;
  std::unique_ptr<Net> net;
  MemoryPlan plan;
  NetOptions options;
  options.planned = [&](const MemoryPlan& p) {
    ++told;
    EXPECT_EQ(net, nullptr);
    plan = p;
  };
  const char* text =
      "layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 1 dim: 8 "
      "dim: 8 } } }\n"
      "layer { name: 'sigmoid' type: 'Sigmoid' bottom: 'data' top: 'sigmoid' }\n";
  net = std::make_unique<Net>(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(),
                              context, std::make_shared<ParameterSet>(), options);
  EXPECT_EQ(told, 1);
  EXPECT_EQ(plan.Total(), net->memory().Total());
  EXPECT_EQ(plan.inputs, 4 * 8 * 8);
}

// Type of the positions that max pooling with a window keeps for its gradient, and the bytes that
// all tensors of the plan take together.
struct Positions {
  DType dtype;
  int64_t without_reuse;
};

Positions PositionsOf(const std::string& window) {
  Context context;
  const std::string shape = "input_param { shape { dim: 1 dim: 16 dim: 20 dim: 20 } } }\n";
  const std::string text =
      "layer { name: 'data' type: 'Input' top: 'data' " + shape +
      "layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { "
      "num_output: 16 kernel_size: 1 weight_filler { type: 'msra' } } }\n"
      "layer { name: 'pool' type: 'Pooling' bottom: 'conv' top: 'pool' pooling_param { pool: MAX " +
      window + " } }\n" +
      "layer { name: 'label' type: 'Input' top: 'label' input_param { shape { dim: 1 dim: 16 dim: "
      "2 dim: 2 } } }\n"
      "layer { type: 'SigmoidCrossEntropyLoss' bottom: 'pool' bottom: 'label' top: 'loss' }\n";
  NetOptions options;
  options.phase = caffe::TRAIN;
  const Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
                std::make_shared<ParameterSet>(), options);
  for (const GraphTensor& tensor : net.graph().tensors) {
    if (tensor.name.find("argmax") == std::string::npos) continue;
    EXPECT_EQ(tensor.desc.shape, (Shape{1, 16, 2, 2}));
    return {tensor.desc.dtype, net.memory().without_reuse};
  }
  ADD_FAILURE() << "no positions";
  return {};
}

TEST(MemoryPlan, PositionsOfAMaximumTakeAByte) {
  // Both give 2x2; 100 positions fit a byte, 289 do not.
  const Positions narrow = PositionsOf("kernel_size: 10 stride: 10");
  const Positions wide = PositionsOf("kernel_size: 17 stride: 3");
  EXPECT_EQ(narrow.dtype, DType::kU8);
  EXPECT_EQ(wide.dtype, DType::kI32);
  EXPECT_EQ(wide.without_reuse - narrow.without_reuse, 3 * 16 * 2 * 2);
}

}  // namespace
}  // namespace lseg
