// Formats in one walk down the list: an op is told what its inputs have, says what it takes, and a
// reorder fills the gap. A tensor that several ops take in the same other format is reordered once.
#include <tuple>

#include "framework/layers/layers.h"
#include "framework/passes/passes.h"

namespace lseg {
void AssignFormats(Graph& graph, const FormatPolicy& policy) {
  std::vector<Node> placed;
  std::map<std::tuple<TensorId, Format, DType>, TensorId> reordered;
  for (Node& node : graph.nodes) {
    std::vector<TensorDesc> in = graph.Descs(node.inputs), out = graph.Descs(node.outputs);
    node.op->ChooseFormats(policy, in, out);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kNoTensor) continue;
      const GraphTensor original = graph.tensors[node.inputs[i]];
      if (in[i].format == original.desc.format && in[i].dtype == original.desc.dtype) continue;
      TensorId& copy = reordered.try_emplace({node.inputs[i], in[i].format, in[i].dtype}, kNoTensor)
                           .first->second;
      if (copy == kNoTensor) {
        copy = graph.AddTensor({original.name + " as " + ToString(in[i].format), in[i]});
        Node reorder{node.layer, MakeReorderOp(),    {node.inputs[i]},
                     {copy},     {GradMode::kWrite}, Stage::kForward};
        placed.push_back(std::move(reorder));
      }
      node.inputs[i] = copy;
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      graph.tensors[node.outputs[i]].desc.format = out[i].format;
      graph.tensors[node.outputs[i]].desc.dtype = out[i].dtype;
    }
    placed.push_back(std::move(node));
  }
  graph.nodes = std::move(placed);
}

}  // namespace lseg
