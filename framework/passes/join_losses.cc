// Six losses one after the other wait for each other's last block six times, and read the label six
// times. As one op, at the place of the last of them, they fill a GPU together.
#include <algorithm>

#include "framework/layers/layers.h"
#include "framework/passes/passes.h"

namespace lseg {
namespace {

bool AnyoneReads(const Graph& graph, const std::vector<TensorId>& ids) {
  return std::any_of(ids.begin(), ids.end(),
                     [&](TensorId id) { return !graph.Readers(id).empty(); });
}

// Whether `node` can move behind `last` and become a part of it.
bool Joins(const Graph& graph, const Node& node, const Node& last) {
  const BinLosses *one = node.op->AsBinLosses(), *other = last.op->AsBinLosses();
  if (one == nullptr || other == nullptr || one->params != other->params) return false;
  if (node.inputs[0] != last.inputs[0] || AnyoneReads(graph, node.outputs)) return false;
  // Two gradients of the same logits would be added at once.
  for (size_t i = 1; i < node.inputs.size(); ++i) {
    if (std::count(last.inputs.begin(), last.inputs.end(), node.inputs[i]) > 0) return false;
  }
  return true;
}

}  // namespace

void JoinLosses(Graph& graph) {
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    for (size_t j = graph.nodes.size(); j-- > i + 1;) {
      Node &node = graph.nodes[i], &last = graph.nodes[j];
      if (!Joins(graph, node, last)) continue;
      BinLosses losses = *node.op->AsBinLosses();
      const std::vector<float>& more = last.op->AsBinLosses()->weights;
      losses.weights.insert(losses.weights.end(), more.begin(), more.end());
      last.op = MakeBinLossOp(std::move(losses));
      last.inputs.insert(last.inputs.begin() + 1, node.inputs.begin() + 1, node.inputs.end());
      last.outputs.insert(last.outputs.begin(), node.outputs.begin(), node.outputs.end());
      last.modes.assign(last.outputs.size(), GradMode::kWrite);
      graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
      break;
    }
  }
}

}  // namespace lseg
