// A stage's gradient comes from two sides: from its score layer, whose gradient is known when the
// backward pass begins, and from the stages behind it. Computed when it is known, it would wait for
// the other in memory, at the size of the stage's map, while everything else is there, too.
#include <algorithm>

#include "framework/passes/passes.h"

namespace lseg {
namespace {

bool Has(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

bool Touches(const Node& node, TensorId id) {
  return Has(node.inputs, id) || Has(node.outputs, id);
}

// The last place where a tensor is read or written.
size_t LastTouch(const Graph& graph, TensorId id) {
  size_t place = graph.nodes.size();
  while (place-- > 0 && !Touches(graph.nodes[place], id)) {
  }
  return place;
}

// The first place behind `place` before which its node must run: its outputs are needed or added
// to, or its inputs changed.
size_t Deadline(const Graph& graph, size_t place) {
  const Node& node = graph.nodes[place];
  size_t later = place + 1;
  for (; later < graph.nodes.size(); ++later) {
    const Node& other = graph.nodes[later];
    const bool needed = std::any_of(node.outputs.begin(), node.outputs.end(), [&](TensorId id) {
      return id != kNoTensor && Touches(other, id);
    });
    const bool changed = std::any_of(node.inputs.begin(), node.inputs.end(), [&](TensorId id) {
      return id != kNoTensor && Has(other.outputs, id);
    });
    if (needed || changed) break;
  }
  return later;
}

// Where the node runs the best: just before that place.
size_t Target(const Graph& graph, size_t place) {
  const Node& node = graph.nodes[place];
  size_t target = Deadline(graph, place);
  int64_t freed = 0, taken = 0;  // bytes, by running it
  for (const TensorId id : node.inputs) {
    if (id == kNoTensor || graph.tensors[id].kind != TensorKind::kActivation) continue;
    const size_t last = LastTouch(graph, id);
    if (last == place) freed += graph.tensors[id].desc.Bytes();
  }
  for (const TensorId id : node.outputs) {
    if (id == kNoTensor || graph.tensors[id].kind != TensorKind::kActivation) continue;
    const bool first = std::none_of(graph.nodes.begin(), graph.nodes.begin() + place,
                                    [&](const Node& before) { return Touches(before, id); });
    if (first) taken += graph.tensors[id].desc.Bytes();
  }
  if (taken > freed) return target;
  if (taken > 0 || freed > 0) return place + 1;
  // Parameters' gradients: as long as what they are made from is in memory for others.
  for (const TensorId id : node.inputs) {
    if (id == kNoTensor || graph.tensors[id].kind != TensorKind::kActivation) continue;
    target = std::min(target, LastTouch(graph, id));
  }
  return target;
}

}  // namespace

void DelayGradients(Graph& graph) {
  for (size_t place = graph.nodes.size(); place-- > 0;) {
    if (graph.nodes[place].stage != Stage::kBackward) continue;
    const auto from = graph.nodes.begin() + static_cast<int64_t>(place);
    const size_t target = Target(graph, place);
    std::rotate(from, from + 1, graph.nodes.begin() + static_cast<int64_t>(target));
  }
}

}  // namespace lseg
