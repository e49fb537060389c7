// conv -> conv -> ... as one op that runs in strips of rows. How many convolutions a chain has and
// how many rows a strip is the caller's choice: longer chains and lower strips need less memory.
#include <algorithm>
#include <optional>

#include "framework/layers/conv_chain.h"
#include "framework/passes/passes.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

// An engine of the device that can run the convolution of a node by rows, in the formats that are
// settled; nothing where there is none, or another was chosen.
std::optional<ConvChainLink> LinkOf(const Graph& graph, const Node& node, const Context& context,
                                    const std::map<std::string, std::string>& engines) {
  const ConvParams* params = node.op->AsConv();
  if (params == nullptr || node.stage != Stage::kForward) return std::nullopt;
  const TensorDesc& src = graph.tensors[node.inputs[0]].desc;
  const TensorDesc& dst = graph.tensors[node.outputs[0]].desc;
  ConvFormats formats = {src.format, dst.format, src.dtype, dst.dtype};
  if (params->HasStageEnd() && !params->pooled) {
    formats.dst = formats.src;
    formats.dst_dtype = formats.src_dtype;
  }
  const auto chosen = engines.find(node.layer + " forward");
  for (const ConvEngine& engine : ConvEngines(context.device())) {
    if (engine.row_grid == nullptr || (params->HasStageEnd() && !engine.stage_end)) continue;
    if (chosen != engines.end() && chosen->second != engine.name) continue;
    if (!engine.supports(context, *params, ConvDirection::kForward, formats)) continue;
    return ConvChainLink{node.layer,        *params, formats, engine.name, engine.row_grid(*params),
                         engine.in_a_thread};
  }
  return std::nullopt;
}

// The map that a link hands on; kNoTensor where only its scores are wanted.
TensorId MapOf(const Node& node) {
  const ConvParams& p = *node.op->AsConv();
  return p.HasStageEnd() && !p.pooled ? kNoTensor : node.outputs[0];
}

bool ReadOnlyBy(const Graph& graph, TensorId id, const Node& reader) {
  return graph.Readers(id).size() == 1 && reader.inputs[0] == id && !graph.tensors[id].keep;
}

// Strips so high that all threads have work, and so many tiles use the weights that are read.
int64_t StripRows(const ConvParams& last, int64_t tiles) {
  constexpr int64_t kTile = 4;
  const int64_t across = CeilDiv(last.src.w, kTile) * last.src.n;
  return kTile * std::max<int64_t>(CeilDiv(tiles, across), 1);
}

Node Chain(Graph& graph, size_t begin, std::vector<ConvChainLink> links,
           const ChainOptions& options, int threads) {
  Node chain;
  chain.layer = links.front().layer + " to " + links.back().layer;
  chain.inputs.push_back(graph.nodes[begin].inputs[0]);
  for (size_t i = 0; i < links.size(); ++i) {
    const Node& node = graph.nodes[begin + i];
    chain.inputs.insert(chain.inputs.end(), node.inputs.begin() + 1, node.inputs.end());
    if (links[i].params.score_channels > 0) chain.outputs.push_back(node.outputs.back());
  }
  const TensorId map = MapOf(graph.nodes[begin + links.size() - 1]);
  if (map != kNoTensor) chain.outputs.push_back(map);
  chain.modes.assign(chain.outputs.size(), GradMode::kWrite);
  const ConvParams& last = links.back().params;
  std::vector<RowRange> bands = {{0, last.src.h}};
  if (options.bands) bands = ConvChainBands(links, threads);
  const int64_t rows = StripRows(last, options.strip_tiles / (bands.size() > 1 ? threads : 1));
  chain.op = MakeConvChainOp(std::move(links), rows, bands);
  return chain;
}

}  // namespace

// Chains of more stages leave fewer maps at stages' ends in memory, lower strips hold less of the
// maps between convolutions and use each weight that is read for fewer tiles: a strip of 1024 tiles
// has work for all threads several times over, one row of tiles is the lowest that there is.
const std::vector<ChainOptions>& ChainLadder() {
  static const std::vector<ChainOptions> kLadder = {
      {1, 1024, true}, {1, 1024, false}, {1, 256, false}, {2, 1024, false}, {2, 256, false},
      {2, 1, false},   {3, 256, false},  {3, 1, false},   {4, 1, false},    {5, 1, false}};
  return kLadder;
}

void ChainConvs(Graph& graph, const Context& context,
                const std::map<std::string, std::string>& engines, const ChainOptions& options) {
  std::vector<Node> nodes;
  for (size_t begin = 0; begin < graph.nodes.size();) {
    std::vector<ConvChainLink> links;
    size_t end = begin;
    for (int stages = 0; end < graph.nodes.size(); ++end) {
      std::optional<ConvChainLink> link = LinkOf(graph, graph.nodes[end], context, engines);
      if (!link) break;
      if (end > begin) {
        const TensorId map = MapOf(graph.nodes[end - 1]);
        if (map == kNoTensor || !ReadOnlyBy(graph, map, graph.nodes[end])) break;
        if (links.back().params.pooled && ++stages == options.stages) break;
      }
      links.push_back(std::move(*link));
    }
    if (links.size() > 1) {
      nodes.push_back(Chain(graph, begin, std::move(links), options, context.threads()));
      begin = end;
    } else {
      nodes.push_back(std::move(graph.nodes[begin++]));
    }
  }
  graph.nodes = std::move(nodes);
}

}  // namespace lseg
