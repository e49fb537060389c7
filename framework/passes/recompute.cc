// A first layer's map is the largest of a net and the cheapest: 27 multiply-adds an element, where
// those behind it take hundreds. Kept from the forward pass to the end of the backward one it is in
// memory when everything else is; computed again when the gradient comes back to it, it is not.
#include <algorithm>
#include <optional>

#include "framework/layers/layers.h"
#include "framework/passes/passes.h"

namespace lseg {
namespace {

constexpr int64_t kMultiplyAdds = 32;  // an element, at most

// Whether a node's output can be had again for little: a convolution of what is kept anyway.
bool IsCheap(const Graph& graph, const Node& node) {
  const ConvParams* p = node.op->AsConv();
  if (p == nullptr || node.stage != Stage::kForward || node.outputs.size() != 1) return false;
  if (graph.tensors[node.inputs[0]].kind != TensorKind::kInput) return false;
  return !graph.tensors[node.outputs[0]].keep && !p->HasStageEnd() &&
         p->MultiplyAdds() <= kMultiplyAdds * p->Dst().Count();
}

bool Reads(const Node& node, TensorId id) {
  return node.stage == Stage::kBackward &&
         std::find(node.inputs.begin(), node.inputs.end(), id) != node.inputs.end();
}

}  // namespace

void Recompute(Graph& graph) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (!IsCheap(graph, graph.nodes[i])) continue;
    const TensorId once = graph.nodes[i].outputs[0];
    const auto reader = std::find_if(graph.nodes.begin(), graph.nodes.end(),
                                     [&](const Node& node) { return Reads(node, once); });
    if (reader == graph.nodes.end()) continue;
    GraphTensor again = graph.tensors[once];
    again.name += " again";
    const TensorId twice = graph.AddTensor(std::move(again));
    for (Node& node : graph.nodes) {
      if (Reads(node, once)) std::replace(node.inputs.begin(), node.inputs.end(), once, twice);
    }
    const Node& first = graph.nodes[i];
    Node copy{first.layer,  MakeConvForwardOp(first.layer, *first.op->AsConv()),
              first.inputs, {twice},
              first.modes,  Stage::kBackward};
    graph.nodes.insert(reader, std::move(copy));
  }
}

}  // namespace lseg
