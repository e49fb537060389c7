// The pass delay_gradients: which nodes it moves, and on random graphs that every node still reads
// what it read before. What it does to a whole net is in tests/lseg/train_passes_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "framework/passes/passes.h"
#include "kernels/runtime/random.h"

namespace lseg {
namespace {

using testing::ElementsAre;

class NoOp : public Op {
 public:
  std::string Name() const override { return "none"; }
  void Run(Context&, const OpArgs&) const override {}
};

TensorId Tensor(Graph& graph, int64_t width, TensorKind kind = TensorKind::kActivation) {
  const std::string name = "t" + std::to_string(graph.tensors.size());
  return graph.AddTensor({name, {{1, 1, 1, width}}, kind});
}

Node& Add(Graph& graph, const std::string& name, std::vector<TensorId> inputs,
          std::vector<TensorId> outputs, Stage stage = Stage::kBackward) {
  return graph.AddNode(name, std::make_unique<NoOp>(), std::move(inputs), std::move(outputs),
                       stage);
}

std::vector<std::string> Order(const Graph& graph) {
  std::vector<std::string> names;
  for (const Node& node : graph.nodes) names.push_back(node.layer);
  return names;
}

// Two stages: the gradient of the first one's map comes from its score (small) and, added, from the
// second stage. Made at once, it would wait while the second stage's gradients are made.
TEST(DelayGradients, WhatTakesMoreThanItFreesWaitsForWhoNeedsIt) {
  Graph graph;
  const TensorId first = Tensor(graph, 1000), second = Tensor(graph, 500), score = Tensor(graph, 4);
  const TensorId d_score = Tensor(graph, 4), d_first = Tensor(graph, 1000),
                 d_second = Tensor(graph, 500);
  Add(graph, "first", {}, {first}, Stage::kForward);
  Add(graph, "second", {first}, {second}, Stage::kForward);
  Add(graph, "score", {first}, {score}, Stage::kForward);
  Add(graph, "loss", {score}, {d_score});
  Add(graph, "of score", {d_score}, {d_first});
  Add(graph, "later loss", {second}, {d_second});
  Add(graph, "of second", {d_second, second}, {d_first}).modes = {GradMode::kAdd};
  Add(graph, "of first", {d_first, first}, {Tensor(graph, 9, TensorKind::kParamGrad)});
  DelayGradients(graph);
  // "later loss" waits, too; "loss", which frees as much as it takes, does not.
  EXPECT_THAT(Order(graph), ElementsAre("first", "second", "score", "loss", "later loss",
                                        "of score", "of second", "of first"));
}

TEST(DelayGradients, WhatFreesMoreThanItTakesRunsAtOnce) {
  Graph graph;
  const TensorId map = Tensor(graph, 1000), d_map = Tensor(graph, 1000),
                 d_small = Tensor(graph, 10);
  Add(graph, "forward", {}, {map}, Stage::kForward);
  Add(graph, "loss", {map}, {d_map});
  Add(graph, "frees", {d_map}, {d_small});
  Add(graph, "other", {map}, {Tensor(graph, 9, TensorKind::kParamGrad)});
  Add(graph, "uses", {d_small}, {Tensor(graph, 9, TensorKind::kParamGrad)});
  DelayGradients(graph);
  EXPECT_THAT(Order(graph), ElementsAre("forward", "loss", "frees", "other", "uses"));
}

// What each node reads and leaves, as texts: who wrote or added, of what, in which order.
std::map<std::string, std::vector<std::string>> WhatNodesSee(const Graph& graph) {
  std::vector<std::string> values(graph.tensors.size());
  std::map<std::string, std::vector<std::string>> seen;
  for (const Node& node : graph.nodes) {
    std::vector<std::string>& texts = seen[node.layer];
    for (const TensorId id : node.inputs) texts.push_back(values[id]);
    const size_t sum = std::hash<std::string>()(testing::PrintToString(texts));
    for (size_t k = 0; k < node.outputs.size(); ++k) {
      std::string& value = values[node.outputs[k]];
      if (node.modes[k] == GradMode::kWrite) value.clear();
      value += node.layer + ":" + std::to_string(sum) + " ";
      texts.push_back(value);
    }
  }
  for (const std::string& value : values) seen["at the end"].push_back(value);
  return seen;
}

// Gradients that are written once and added to, maps of all sizes, inputs that are overwritten.
Graph RandomGraph(uint64_t seed) {
  Random random(seed, 0);
  Graph graph;
  std::vector<TensorId> there;
  for (int i = 0; i < 40; ++i) {
    const std::string name = "node " + std::to_string(i);
    std::vector<TensorId> inputs;
    const int reads = there.empty() ? 0 : 1 + static_cast<int>(random.Below(3));
    for (int k = 0; k < reads; ++k) inputs.push_back(there[random.Below(there.size())]);
    if (i < 10 || random.Below(3) > 0) {
      const TensorKind kind =
          random.Below(5) == 0 ? TensorKind::kParamGrad : TensorKind::kActivation;
      const TensorId made = Tensor(graph, 1 + static_cast<int64_t>(random.Below(1000)), kind);
      Add(graph, name, inputs, {made}, i < 10 ? Stage::kForward : Stage::kBackward);
      there.push_back(made);
    } else {
      const GradMode mode = random.Below(4) == 0 ? GradMode::kWrite : GradMode::kAdd;
      Add(graph, name, inputs, {there[random.Below(there.size())]}).modes = {mode};
    }
  }
  return graph;
}

TEST(DelayGradients, LeaveWhatEachNodeReads) {
  int moved = 0;
  for (uint64_t seed = 0; seed < 300; ++seed) {
    Graph graph = RandomGraph(seed);
    const auto before = WhatNodesSee(graph);
    const std::vector<std::string> order = Order(graph);
    DelayGradients(graph);
    EXPECT_EQ(WhatNodesSee(graph), before) << "seed " << seed;
    moved += Order(graph) != order;
  }
  EXPECT_GT(moved, 200);  // of 300 graphs: the rule above has something to move in most
}

}  // namespace
}  // namespace lseg
