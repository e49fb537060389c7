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

}  // namespace
}  // namespace lseg
