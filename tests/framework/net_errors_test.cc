// What a net refuses when it is made, and in which words: the layer and its line come first.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "framework/net.h"
#include "tests/error_of.h"
#include "tests/framework/train_once.h"

namespace lseg {
namespace {

using testing::StartsWith;

class UnreadyOp : public Op {
 public:
  std::string Name() const override { return "unready"; }
  void Prepare(PrepareContext&, std::span<const TensorDesc>, std::span<const TensorDesc>) override {
    LSEG_FAIL("nothing does this");
  }
  void Run(Context&, const OpArgs&) const override {}
};

void BuildUnready(LayerBuilder& builder) {
  const TensorId bottom = builder.Bottom(0);
  const TensorId top = builder.AddTop(0, builder.BottomShape(0));
  builder.AddNode(std::make_unique<UnreadyOp>(), {bottom}, {top});
}

TEST(NetErrors, OfAPlanNameItsLayer) {
  LayerRegistry registry = BuiltinLayers();
  registry.Add({"Unready", BuildUnready});
  for (const std::string name : {"name: 'u' ", ""}) {
    const std::string text = InputText("data", "dim: 1 dim: 3 dim: 4 dim: 4") + "layer { " + name +
                             "type: 'Unready' bottom: 'data' top: 'out' }";
    Context context;
    EXPECT_THAT(
        ErrorOf([&] {
          Net net(NetDefinition::FromText(text, "test.prototxt"), registry, context,
                  std::make_shared<ParameterSet>(), {});
        }),
        StartsWith(name.empty() ? "test.prototxt:2: layer (Unready, top 'out'): nothing does this"
                                : "test.prototxt:2: layer 'u' (Unready): nothing does this"));
  }
}

TEST(NetErrors, OfMoreLossesThanAStepKnows) {
  const auto refusal = [](int losses) {
    std::string text = InputText("data", "dim: 1 dim: 3 dim: 4 dim: 4") +
                       InputText("label", "dim: 1 dim: 2 dim: 4 dim: 4") +
                       ConvText("score", "data", "num_output: 2 kernel_size: 1");
    for (int i = 1; i <= losses; ++i) text += LossText("l" + std::to_string(i), "score", "label");
    return ErrorOf([&] { TrainOnce(text, Device::kCpu, Precision::kF32, {}); });
  };
  EXPECT_EQ(refusal(32), "");
  EXPECT_EQ(refusal(33), "a net learns from 32 losses at most: it has 33, the last of them 'l33'");
}

// Products of such extents wrap: to 0 in the first case.
TEST(NetErrors, OfTensorsThatNoMemoryHolds) {
  const auto refusal = [](const std::string& layer) {
    const std::string text = InputText("data", "dim: 1 dim: 3 dim: 2 dim: 2") + layer;
    Context context;
    return ErrorOf([&] {
      Net net(NetDefinition::FromText(text, "test.prototxt"), BuiltinLayers(), context,
              std::make_shared<ParameterSet>(), {});
    });
  };
  EXPECT_EQ(refusal(ConvText("a", "data", "num_output: 16 kernel_size: 1 pad: 2147483647")),
            "test.prototxt:2: layer 'a' (Convolution): top 'a' would be "
            "1x16x4294967296x4294967296: tensors have fewer than 2^48 elements");
  EXPECT_EQ(refusal(ConvText("a", "data", "num_output: 1 kernel_size: 16777216 pad: 16777216")),
            "test.prototxt:2: layer 'a' (Convolution): 'a.weight' would be "
            "1x3x16777216x16777216: tensors have fewer than 2^48 elements");
}

}  // namespace
}  // namespace lseg
