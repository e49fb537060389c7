// Backward as nodes: each op of the forward list, last first, adds the nodes of its own gradient.
// Where several readers of a tensor give it gradients, the first in the list writes and the others
// add, so nothing is filled with zeros and nothing is split.
#include "framework/passes/passes.h"

namespace lseg {
namespace {

// Tensors through which something that learns is reached.
std::vector<bool> WantedTensors(const Graph& graph, const std::vector<NetParam>& params,
                                bool inputs_too) {
  std::vector<bool> wanted(graph.tensors.size(), false);
  for (const NetParam& param : params) {
    if (param.lr_mult != 0) wanted[param.tensor] = true;
  }
  for (size_t id = 0; id < graph.tensors.size(); ++id) {
    const GraphTensor& tensor = graph.tensors[id];
    if (inputs_too && tensor.kind == TensorKind::kInput && tensor.desc.dtype == DType::kF32) {
      wanted[id] = true;
    }
  }
  for (const Node& node : graph.nodes) {
    bool any = false;
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      any = any || (wanted[node.inputs[i]] && !node.Stops(static_cast<int>(i)));
    }
    for (TensorId output : node.outputs) {
      if (any && IsFloat(graph.tensors[output].desc.dtype)) wanted[output] = true;
    }
  }
  return wanted;
}

}  // namespace

void AddGradients(Graph& graph, const std::vector<NetLoss>& losses,
                  const std::vector<NetParam>& params, bool inputs_too) {
  std::vector<bool> wanted = WantedTensors(graph, params, inputs_too);
  // A loss op multiplies by its own loss weight: its output needs no gradient tensor, only the word
  // that it counts.
  for (const NetLoss& loss : losses) {
    if (loss.weight != 0) graph.gradient_of[loss.tensor] = loss.tensor;
  }
  for (size_t i = graph.nodes.size(); i-- > 0;) {
    if (graph.nodes[i].stage != Stage::kForward) continue;
    bool reached = false;
    for (TensorId output : graph.nodes[i].outputs) reached |= graph.gradient_of.count(output) > 0;
    if (!reached) continue;
    GradientBuilder builder(graph, wanted, i);
    graph.nodes[i].op->AddGradient(builder);
    wanted.resize(graph.tensors.size(), false);
  }
}

}  // namespace lseg
