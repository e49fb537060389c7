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

}  // namespace
}  // namespace lseg
