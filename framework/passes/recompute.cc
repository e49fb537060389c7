// Maps kept from the forward pass to the end of the backward one are in memory when everything else
// is; computed again when the gradient comes back to them, they are not. A first layer's is the
// largest of a net and the cheapest: 27 multiply-adds an element, where those behind it take
// hundreds, and thousands. The larger a map, the cheaper it is, in nets of this kind.
#include <algorithm>

#include "framework/layers/layers.h"
#include "framework/passes/passes.h"

namespace lseg {
namespace {

// Whether a node's output can be had again for little: a convolution of what is kept anyway, and
// not larger (a score layer's map would bring that back when its gradient does, at the very
// beginning).
bool IsCheap(const Graph& graph, const Node& node, int64_t multiply_adds) {
  const ConvParams* p = node.op->AsConv();
  if (p == nullptr || node.stage != Stage::kForward || node.outputs.size() != 1) return false;
  if (p->out_channels < p->src.c || p->HasStageEnd()) return false;
  return !graph.tensors[node.outputs[0]].keep &&
         p->MultiplyAdds() <= multiply_adds * p->Dst().Count();
}

bool Reads(const Node& node, TensorId id) {
  return node.stage == Stage::kBackward &&
         std::find(node.inputs.begin(), node.inputs.end(), id) != node.inputs.end();
}

}  // namespace

// From the last to the first: what is computed again may read what is computed again before it.
void Recompute(Graph& graph, int64_t multiply_adds) {
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    if (!IsCheap(graph, graph.nodes[i], multiply_adds)) continue;
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
