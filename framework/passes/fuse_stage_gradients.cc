// The gradient of a stage's last map comes from its score layer and from the pooling behind it: one
// writes it, the other reads it, adds, and takes the ReLU's gradient, and the score layer's own
// gradients read the map once more. As one op the map and its gradient, the largest tensors of a
// training step, are read and written once. For a GPU: a CPU's three ops take 4 % of a step.
#include <algorithm>

#include "framework/passes/passes.h"
#include "framework/passes/stages.h"
#include "kernels/stage_gradient.h"

namespace lseg {
namespace {

// Inputs: map, d_score, weight, and where there is a pooling d_pooled, argmax. Outputs: d_map,
// d_weight, and d_bias where the score layer has a bias.
class StageGradientOp : public Op {
 public:
  explicit StageGradientOp(const StageGradientParams& params) : params_(params) {}
  std::string Name() const override { return "stage_gradient"; }
  void Prepare(PrepareContext& prepare, std::span<const TensorDesc>,
               std::span<const TensorDesc>) override {
    params_.Validate();
    workspace_bytes_ = params_.WorkspaceBytes(prepare.context);
  }
  int64_t WorkspaceBytes() const override { return workspace_bytes_; }
  void Run(Context& context, const OpArgs& args) const override {
    StageGradientArgs stage;
    stage.map = args.in[0];
    stage.d_score = args.f32_in(1);
    stage.weight = args.f32_in(2);
    if (params_.pooled) {
      stage.d_pooled = args.in[3];
      stage.argmax = static_cast<const uint8_t*>(args.in[4]);
    }
    stage.d_map = args.out[0];
    stage.d_weight = args.f32_out(1);
    stage.d_bias = args.out.size() > 2 ? args.f32_out(2) : nullptr;
    stage.d_weight_mode = args.modes[1];
    stage.workspace = args.workspace;
    StageGradient(context, params_, stage);
  }

 private:
  StageGradientParams params_;
  int64_t workspace_bytes_ = 0;
};

bool Holds(const std::vector<TensorId>& ids, TensorId id) {
  return std::find(ids.begin(), ids.end(), id) != ids.end();
}

// Places in the node list; pool may be absent.
struct Gradients {
  size_t data = 0, weights = 0;
  std::optional<size_t> pool;
  size_t last = 0;  // of data and pool, which completes the gradient
};

const Node* ForwardOf(const Graph& graph, TensorId weight) {
  for (const Node& node : graph.nodes) {
    if (node.stage == Stage::kForward && node.op->AsConv() != nullptr && node.inputs[1] == weight) {
      return &node;
    }
  }
  return nullptr;
}

// Whether `node` is the gradient of maxima over windows of 2x2.
bool IsUnpooling(const Graph& graph, const Node& node) {
  if (node.op->Name() != "pool_backward" || node.inputs.size() < 2) return false;
  if (graph.tensors[node.inputs[1]].desc.dtype != DType::kU8) return false;
  const Node* forward = graph.Writer(node.inputs[1]);  // of the positions
  const PoolParams* p = forward == nullptr ? nullptr : forward->op->AsPool();
  return p != nullptr && IsHalving(*p);
}

// The node that computes a parameter's gradient, alone.
std::optional<size_t> WeightsNode(const Graph& graph, TensorId weight, TensorId d_score) {
  const auto gradient = graph.gradient_of.find(weight);
  if (gradient == graph.gradient_of.end()) return std::nullopt;
  std::optional<size_t> found;
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const Node& node = graph.nodes[i];
    if (!Holds(node.outputs, gradient->second) || node.stage != Stage::kBackward) continue;
    if (found || node.outputs[0] != gradient->second || node.inputs[1] != d_score) {
      return std::nullopt;
    }
    found = i;
  }
  return found;
}

// Whether a node, the last of the writers, takes the gradient of the ReLU that gave `map`, too.
bool TakesRelu(const Node& node, TensorId map) {
  const size_t usual = 2;  // d_dst, weight; d_dst, argmax
  return node.inputs.size() > usual && node.inputs[usual] == map;
}

std::optional<Gradients> Match(const Graph& graph, size_t data) {
  const Node& node = graph.nodes[data];
  if (node.stage != Stage::kBackward || node.op->Name() != "conv_backward data") {
    return std::nullopt;
  }
  const Node* forward = ForwardOf(graph, node.inputs[1]);
  if (forward == nullptr || !IsScoreLayer(*forward->op->AsConv())) return std::nullopt;
  const std::optional<size_t> weights = WeightsNode(graph, node.inputs[1], node.inputs[0]);
  if (!weights) return std::nullopt;
  Gradients found{data, *weights, std::nullopt, data};
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    if (i == data || !Holds(graph.nodes[i].outputs, node.outputs[0])) continue;
    if (found.pool || !IsUnpooling(graph, graph.nodes[i])) return std::nullopt;
    found.pool = i;
    found.last = std::max(data, i);
  }
  const GraphTensor& map = graph.tensors[forward->inputs[0]];
  const TensorDesc& score = graph.tensors[forward->outputs[0]].desc;
  const bool fits = map.desc.format == Format::kNHWC && map.desc.shape.c % 8 == 0 &&
                    map.desc.shape.c <= StageGradientParams::kMostChannels &&
                    score.format == Format::kNCHW && score.dtype == DType::kF32;
  return fits ? std::optional(found) : std::nullopt;
}

Node FusedNode(const Graph& graph, const Gradients& of) {
  const Node &data = graph.nodes[of.data], &weights = graph.nodes[of.weights];
  const TensorId map = weights.inputs[0];
  StageGradientParams params;
  params.map = graph.tensors[map].desc.shape;
  params.scores = graph.tensors[data.inputs[1]].desc.shape.n;
  params.pooled = of.pool.has_value();
  params.relu = TakesRelu(graph.nodes[of.last], map);
  params.dtype = graph.tensors[map].desc.dtype;
  Node fused;
  fused.layer = data.layer;
  fused.stage = Stage::kBackward;
  fused.op = std::make_unique<StageGradientOp>(params);
  fused.inputs = {map, data.inputs[0], data.inputs[1]};
  if (of.pool) {
    const Node& pool = graph.nodes[*of.pool];
    fused.inputs.insert(fused.inputs.end(), {pool.inputs[0], pool.inputs[1]});
  }
  fused.outputs = {data.outputs[0]};
  fused.outputs.insert(fused.outputs.end(), weights.outputs.begin(), weights.outputs.end());
  fused.modes = {GradMode::kWrite};
  fused.modes.insert(fused.modes.end(), weights.modes.begin(), weights.modes.end());
  return fused;
}

// Fuses one stage's; false where none is left.
bool FuseOne(Graph& graph) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::optional<Gradients> found = Match(graph, i);
    if (!found) continue;
    Node fused = FusedNode(graph, *found);
    for (const size_t place : {found->data, found->weights, found->pool.value_or(found->data)}) {
      graph.nodes[place].op.reset();
    }
    graph.nodes[found->last] = std::move(fused);
    std::erase_if(graph.nodes, [](const Node& node) { return node.op == nullptr; });
    return true;
  }
  return false;
}

}  // namespace

void FuseStageGradients(Graph& graph) {
  while (FuseOne(graph)) {
  }
}

}  // namespace lseg
