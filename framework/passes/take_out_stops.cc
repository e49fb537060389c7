// A mark between two layers keeps every pass from merging what lies before it with what lies
// behind, so none of them has to know where gradients stop. Once they are through it need not cost
// a copy.
#include <utility>

#include "framework/passes/passes.h"

namespace lseg {

void TakeOutStops(Graph& graph) {
  std::map<TensorId, TensorId> originals;  // by output of a mark
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const auto found = originals.find(node.inputs[i]);
      if (found == originals.end()) continue;
      node.inputs[i] = found->second;
      node.stopped.push_back(static_cast<int>(i));
    }
    if (node.op->StopsGradient()) {
      originals[node.outputs[0]] = node.inputs[0];
    } else {
      kept.push_back(std::move(node));
    }
  }
  graph.nodes = std::move(kept);
}

}  // namespace lseg
