// One op for convolution, bias and ReLU: the activation is written once instead of being written,
// read and written again. Backward needs only the sign of the output, which both forms have.
#include "framework/passes/passes.h"

namespace lseg {

void FuseConvRelu(Graph& graph) {
  std::vector<int> readers(graph.tensors.size(), 0);
  for (size_t id = 0; id < graph.tensors.size(); ++id) readers[id] = graph.tensors[id].keep ? 1 : 0;
  for (const Node& node : graph.nodes) {
    for (TensorId input : node.inputs) {
      if (input != kNoTensor) ++readers[input];
    }
  }
  std::vector<Node> kept;
  std::map<TensorId, size_t> writer;  // tensor -> its place in kept
  for (Node& node : graph.nodes) {
    if (node.op->IsRelu() && readers[node.inputs[0]] == 1) {
      const auto found = writer.find(node.inputs[0]);
      if (found != writer.end() && kept[found->second].op->AbsorbRelu()) {
        kept[found->second].outputs[0] = node.outputs[0];
        writer[node.outputs[0]] = found->second;
        continue;
      }
    }
    for (TensorId output : node.outputs) writer[output] = kept.size();
    kept.push_back(std::move(node));
  }
  graph.nodes = std::move(kept);
}

}  // namespace lseg
