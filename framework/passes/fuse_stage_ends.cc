// conv -> (pool, score) as one op. The largest maps of the net are those at its stages' ends: what
// is written of them is a quarter of the size, and a few score channels.
#include <algorithm>

#include "framework/layers/layers.h"
#include "framework/passes/passes.h"
#include "framework/passes/stages.h"

namespace lseg {
namespace {

// Places in the node list; pool may be absent.
struct StageEnd {
  size_t conv = 0, score = 0;
  std::optional<size_t> pool;
  size_t head = 0;
  int head_input = 0;
};

std::optional<StageEnd> Match(const Graph& graph, size_t conv) {
  const Node& node = graph.nodes[conv];
  const ConvParams* params = node.op->AsConv();
  if (params == nullptr || params->HasStageEnd()) return std::nullopt;
  if (graph.tensors[node.outputs[0]].keep) return std::nullopt;
  StageEnd end;
  end.conv = conv;
  bool scored = false;
  for (size_t reader : graph.Readers(node.outputs[0])) {
    const Node& next = graph.nodes[reader];
    const ConvParams* score = next.op->AsConv();
    const PoolParams* pool = next.op->AsPool();
    if (score != nullptr && IsScoreLayer(*score) && !scored) {
      scored = true;
      end.score = reader;
    } else if (pool != nullptr && IsHalving(*pool) && next.outputs.size() == 1 && !end.pool) {
      end.pool = reader;
    } else {
      return std::nullopt;
    }
  }
  if (!scored) return std::nullopt;
  const TensorId map = graph.nodes[end.score].outputs[0];
  const std::vector<size_t> readers = graph.Readers(map);
  if (graph.tensors[map].keep || readers.size() != 1) return std::nullopt;
  const Node& head = graph.nodes[readers[0]];
  if (head.op->Name() != "fuse_head") return std::nullopt;
  end.head = readers[0];
  end.head_input = static_cast<int>(std::find(head.inputs.begin(), head.inputs.end(), map) -
                                    head.inputs.begin());
  return end;
}

ConvParams ParamsOf(const Graph& graph, const StageEnd& end) {
  ConvParams params = *graph.nodes[end.conv].op->AsConv();
  params.pooled = end.pool.has_value();
  params.score_channels = graph.nodes[end.score].op->AsConv()->out_channels;
  return params;
}

bool CanRun(const Context& context, const ConvParams& params, const FormatPolicy& policy) {
  // An image's layer reads it as it is: narrower types would round it.
  if (policy.trunk != DType::kF32 && params.src.c <= 4) return false;
  const ConvFormats formats{policy.blocked, policy.blocked, policy.trunk, policy.trunk};
  return HasConvEngine(context, params, ConvDirection::kForward, formats);
}

// Leaves the pool's and the score's places without an op; the caller takes them out.
void Fuse(Graph& graph, const StageEnd& end, const ConvParams& params) {
  Node &conv = graph.nodes[end.conv], &score = graph.nodes[end.score];
  const ConvParams& score_params = *score.op->AsConv();
  const Shape map = score_params.Dst();
  const TensorId partials =
      graph.AddTensor({"partial sums of " + graph.tensors[score.outputs[0]].name, {map}});
  Node& head = graph.nodes[end.head];
  head.inputs[end.head_input] = partials;
  head.inputs[end.head_input + 1] = score_params.bias ? score.inputs[2] : kNoTensor;
  conv.inputs.push_back(score.inputs[1]);
  conv.outputs.clear();
  if (end.pool) conv.outputs.push_back(graph.nodes[*end.pool].outputs[0]);
  conv.outputs.push_back(partials);
  conv.modes.assign(conv.outputs.size(), GradMode::kWrite);
  conv.op = MakeConvStageEndOp(conv.layer, params);
  score.op.reset();
  if (end.pool) graph.nodes[*end.pool].op.reset();
}

}  // namespace

void FuseStageEnds(Graph& graph, const Context& context, const FormatPolicy& policy) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::optional<StageEnd> end = Match(graph, i);
    if (!end) continue;
    const ConvParams params = ParamsOf(graph, *end);
    if (!CanRun(context, params, policy)) continue;
    Fuse(graph, *end, params);
    std::erase_if(graph.nodes, [](const Node& node) { return node.op == nullptr; });
  }
}

}  // namespace lseg
