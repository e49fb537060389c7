// Side maps are cropped, sliced and joined again: most of that copies what nobody else wants. What
// a copy costs forward, it costs once more in the gradient, which is why this comes before
// gradients are added.
#include <algorithm>

#include "framework/layers/layers.h"
#include "framework/passes/passes.h"

namespace lseg {
namespace {

using Parts = std::vector<BoxCopyPart>;

const Parts* CopiesAt(const Graph& graph, size_t place) {
  return graph.nodes[place].op->AsBoxCopies();
}

bool IsNowhere(const Shape& at) { return at == Shape{0, 0, 0, 0}; }

// The one box of a node that copies no more than that, into all of its only output.
const BoxCopyParams* OnlyBox(const Graph& graph, size_t place) {
  const Parts* parts = CopiesAt(graph, place);
  if (parts == nullptr || parts->size() != 1 || graph.nodes[place].outputs.size() != 1) {
    return nullptr;
  }
  const BoxCopyParams& box = parts->front().params;
  return box.box == box.dst && IsNowhere(box.dst_at) ? &box : nullptr;
}

// A copy of everything: who reads it reads the original.
bool FoldIdentity(Graph& graph, size_t place) {
  const BoxCopyParams* box = OnlyBox(graph, place);
  if (box == nullptr || box->src != box->dst) return false;
  const TensorId copy = graph.nodes[place].outputs[0];
  if (graph.tensors[copy].keep) return false;
  const TensorId original = graph.nodes[place].inputs[0];
  for (Node& node : graph.nodes) {
    std::replace(node.inputs.begin(), node.inputs.end(), copy, original);
  }
  return true;
}

bool FoldCrop(Graph& graph, size_t place) {
  const BoxCopyParams* box = OnlyBox(graph, place);
  if (box == nullptr || box->src.n != box->dst.n || box->src.c != box->dst.c) return false;
  const TensorId whole = graph.nodes[place].inputs[0], part = graph.nodes[place].outputs[0];
  if (graph.tensors[whole].keep || graph.Readers(whole).size() != 1) return false;
  for (Node& node : graph.nodes) {
    if (node.outputs != std::vector<TensorId>{whole}) continue;
    if (!node.op->AbsorbCrop(*box)) return false;
    node.outputs[0] = part;
    return true;
  }
  return false;
}

// `box` of `from` as a box of what `from` was copied from; nothing where it is no part of one copy.
std::optional<BoxCopyPart> Original(const Node& copies, TensorId from, const BoxCopyParams& box) {
  const auto within = [](int64_t at, int64_t size, int64_t begin, int64_t extent) {
    return at >= begin && at + size <= begin + extent;
  };
  for (const BoxCopyPart& part : *copies.op->AsBoxCopies()) {
    const BoxCopyParams& p = part.params;
    const Shape &at = box.src_at, &size = box.box, &to = p.dst_at;
    if (copies.outputs[part.output] != from || !within(at.n, size.n, to.n, p.box.n) ||
        !within(at.c, size.c, to.c, p.box.c) || !within(at.h, size.h, to.h, p.box.h) ||
        !within(at.w, size.w, to.w, p.box.w)) {
      continue;
    }
    BoxCopyParams composed = box;
    composed.src = p.src;
    composed.src_at = {at.n - to.n + p.src_at.n, at.c - to.c + p.src_at.c, at.h - to.h + p.src_at.h,
                       at.w - to.w + p.src_at.w};
    return BoxCopyPart{part.input, 0, composed};
  }
  return std::nullopt;
}

// What `reader` becomes if it takes all that it has of the outputs of `copies` from their
// originals; nothing where it cannot.
std::optional<Node> ReadingOriginals(const Node& reader, const Node& copies) {
  const Parts* parts = reader.op->AsBoxCopies();
  if (parts == nullptr) return std::nullopt;
  Parts composed;
  Node node;
  // By old input, and by that of `copies` (-1: none): boxes of one do not overlap. Two of them may
  // be one tensor, each with a gradient of its own.
  std::map<std::pair<int, int>, int> place;
  for (const BoxCopyPart& part : *parts) {
    BoxCopyPart now = part;
    TensorId from = reader.inputs[part.input];
    int source = -1;
    const auto& outputs = copies.outputs;
    if (std::find(outputs.begin(), outputs.end(), from) != outputs.end()) {
      const std::optional<BoxCopyPart> original = Original(copies, from, part.params);
      if (!original) return std::nullopt;
      now.params = original->params;
      source = original->input;
      from = copies.inputs[source];
    }
    const auto [found, added] =
        place.try_emplace({part.input, source}, static_cast<int>(node.inputs.size()));
    if (added) node.inputs.push_back(from);
    now.input = found->second;
    composed.push_back(now);
  }
  node.layer = reader.layer;
  node.op = MakeBoxCopyOp(reader.op->Name(), std::move(composed));
  node.outputs = reader.outputs;
  node.modes = reader.modes;
  node.stage = reader.stage;
  return node;
}

// Copies that are only copied from: who does so turns to the originals.
bool FoldChain(Graph& graph, size_t place) {
  const Node& copies = graph.nodes[place];
  if (CopiesAt(graph, place) == nullptr) return false;
  std::map<size_t, Node> changed;
  for (TensorId output : copies.outputs) {
    if (graph.tensors[output].keep) return false;
    for (size_t reader : graph.Readers(output)) {
      if (changed.count(reader) > 0) continue;
      std::optional<Node> node = ReadingOriginals(graph.nodes[reader], copies);
      if (!node) return false;
      changed.emplace(reader, std::move(*node));
    }
  }
  if (changed.empty()) return false;
  for (auto& [reader, node] : changed) graph.nodes[reader] = std::move(node);
  return true;
}

}  // namespace

void FoldCopies(Graph& graph) {
  for (size_t i = 0; i < graph.nodes.size();) {
    if (FoldIdentity(graph, i) || FoldCrop(graph, i) || FoldChain(graph, i)) {
      graph.nodes.erase(graph.nodes.begin() + static_cast<std::ptrdiff_t>(i));
    } else {
      ++i;
    }
  }
}

}  // namespace lseg
