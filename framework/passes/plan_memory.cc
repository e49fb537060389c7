// Memory by lifetime. The arena holds activations and their gradients; where two never live at the
// same time they share bytes. Greedy by size, which comes within a few per cent of the lower bound
// on nets of this kind, and is the same on every run.
#include <algorithm>
#include <cstdio>

#include "framework/passes/passes.h"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

constexpr int64_t kAlignment = 64;

struct Life {
  int first = -1, last = -1;  // places in the node list
  int64_t bytes = 0;
  TensorId root = kNoTensor;  // whose memory it lies in: itself, or an input it replaces in place
};

std::vector<Life> Lifetimes(const Graph& graph) {
  std::vector<Life> lives(graph.tensors.size());
  const int end = static_cast<int>(graph.nodes.size());
  auto touch = [&](TensorId id, int place) {
    if (id == kNoTensor || graph.tensors[id].kind != TensorKind::kActivation) return;
    Life& life = lives[id];
    if (life.first < 0) life.first = place;
    life.last = graph.tensors[id].keep ? end : std::max(life.last, place);
  };
  for (int place = 0; place < end; ++place) {
    for (TensorId id : graph.nodes[place].inputs) touch(id, place);
    for (TensorId id : graph.nodes[place].outputs) touch(id, place);
  }
  for (size_t id = 0; id < lives.size(); ++id) {
    lives[id].root = static_cast<TensorId>(id);
    lives[id].bytes = RoundUp(graph.tensors[id].desc.Bytes(), kAlignment);
  }
  return lives;
}

// Lets outputs take the memory of inputs that die where the output is born.
void ShareInPlace(const Graph& graph, std::vector<Life>& lives) {
  for (size_t place = 0; place < graph.nodes.size(); ++place) {
    const Node& node = graph.nodes[place];
    for (size_t o = 0; o < node.outputs.size(); ++o) {
      const TensorId output = node.outputs[o];
      if (output == kNoTensor || node.modes[o] != GradMode::kWrite) continue;
      if (lives[output].first != static_cast<int>(place)) continue;
      for (size_t i = 0; i < node.inputs.size(); ++i) {
        const TensorId input = node.inputs[i];
        if (input == kNoTensor || lives[input].first < 0 || input == output) continue;
        const TensorId root = lives[input].root;
        if (lives[root].last != static_cast<int>(place) ||
            lives[root].bytes < lives[output].bytes ||
            !node.op->InPlace(static_cast<int>(o), static_cast<int>(i))) {
          continue;
        }
        lives[root].last = std::max(lives[root].last, lives[output].last);
        lives[output].root = root;
        break;
      }
    }
  }
}

}  // namespace

std::string Megabytes(int64_t bytes) {
  char text[32];
  const double megabytes = static_cast<double>(bytes) / 1e6;
  std::snprintf(text, sizeof(text), megabytes < 10 ? "%.1f MB" : "%.0f MB", megabytes);
  return text;
}

std::string ToString(const MemoryPlan& plan) {
  std::string parts;
  const auto add = [&](const char* name, int64_t bytes) {
    if (bytes >= 50'000)
      parts += (parts.empty() ? "" : ", ") + std::string(name) + Megabytes(bytes);
  };
  const bool packing = plan.Packing() > plan.Running();
  if (!packing) {
    add("activations ", plan.arena);
    add("workspace ", plan.workspace);
  }
  add("parameters ", plan.parameters + (packing ? plan.released : 0));
  add("gradients ", plan.gradients);
  add("packed weights and the solver's memory ", plan.states);
  if (!packing) add("inputs ", plan.inputs);
  return Megabytes(plan.Total()) + (parts.empty() ? "" : " (" + parts + ")");
}

MemoryPlan PlanMemory(const Graph& graph, const std::vector<TensorId>& released) {
  std::vector<Life> lives = Lifetimes(graph);
  ShareInPlace(graph, lives);
  MemoryPlan plan;
  plan.offsets.assign(graph.tensors.size(), -1);
  std::vector<TensorId> order;
  for (size_t id = 0; id < lives.size(); ++id) {
    const GraphTensor& tensor = graph.tensors[id];
    const int64_t bytes = tensor.desc.Bytes();
    if (tensor.kind == TensorKind::kParam) plan.parameters += bytes;
    if (tensor.kind == TensorKind::kParamGrad) plan.gradients += bytes;
    if (tensor.kind == TensorKind::kState) plan.states += bytes;
    if (tensor.kind == TensorKind::kInput) plan.inputs += bytes;
    if (lives[id].first < 0) continue;
    plan.without_reuse += lives[id].bytes;
    if (lives[id].root == static_cast<TensorId>(id)) order.push_back(static_cast<TensorId>(id));
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](TensorId a, TensorId b) { return lives[a].bytes > lives[b].bytes; });
  std::vector<TensorId> placed;  // by offset
  for (TensorId id : order) {
    int64_t offset = 0;
    for (TensorId other : placed) {
      const bool apart = lives[other].last < lives[id].first || lives[id].last < lives[other].first;
      if (apart || plan.offsets[other] + lives[other].bytes <= offset) continue;
      if (plan.offsets[other] >= offset + lives[id].bytes) break;
      offset = plan.offsets[other] + lives[other].bytes;
    }
    plan.offsets[id] = offset;
    plan.arena = std::max(plan.arena, offset + lives[id].bytes);
    placed.insert(
        std::upper_bound(placed.begin(), placed.end(), id,
                         [&](TensorId a, TensorId b) { return plan.offsets[a] < plan.offsets[b]; }),
        id);
  }
  for (size_t id = 0; id < lives.size(); ++id) {
    if (lives[id].first < 0) continue;
    plan.offsets[id] = plan.offsets[lives[id].root];
  }
  for (const TensorId id : released) plan.released += graph.tensors[id].desc.Bytes();
  plan.parameters -= plan.released;
  for (const Node& node : graph.nodes) {
    plan.workspace = std::max(plan.workspace, node.op->WorkspaceBytes());
  }
  return plan;
}

}  // namespace lseg
