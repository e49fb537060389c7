// As a pass of its own, a ReLU's gradient reads two maps and writes one; as part of the op that
// completes the gradient it reads one. The last of several that add up does it, to their sum.
#include <algorithm>

#include "framework/passes/passes.h"

namespace lseg {
namespace {

bool Holds(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// The op that completes `gradient` before place `end`, if that is all it does; else null.
Node* LastWriter(Graph& graph, TensorId gradient, size_t end) {
  for (size_t i = end; i-- > 0;) {
    Node& node = graph.nodes[i];
    if (Holds(node.outputs, gradient)) return node.outputs.size() == 1 ? &node : nullptr;
  }
  return nullptr;
}

bool Fuse(Graph& graph, size_t at) {
  const Node& relu = graph.nodes[at];
  if (!relu.op->IsReluGradient() || relu.modes[0] != GradMode::kWrite) return false;
  const TensorId dst = relu.inputs[0], d_dst = relu.inputs[1], d_src = relu.outputs[0];
  const GraphTensor &after = graph.tensors[d_dst], &before = graph.tensors[d_src];
  if (before.keep || before.kind != after.kind || before.desc != after.desc) return false;
  if (after.keep || graph.Readers(d_dst).size() != 1) return false;
  Node* writer = LastWriter(graph, d_dst, at);
  if (writer == nullptr || !writer->op->AbsorbReluGradient()) return false;
  writer->inputs.push_back(dst);
  for (Node& node : graph.nodes) {
    std::replace(node.inputs.begin(), node.inputs.end(), d_src, d_dst);
    std::replace(node.outputs.begin(), node.outputs.end(), d_src, d_dst);
  }
  for (auto& [primal, gradient] : graph.gradient_of) {
    if (gradient == d_src) gradient = d_dst;
  }
  return true;
}

}  // namespace

void FuseReluGradients(Graph& graph) {
  for (size_t i = 0; i < graph.nodes.size();) {
    if (Fuse(graph, i)) {
      graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

}  // namespace lseg
