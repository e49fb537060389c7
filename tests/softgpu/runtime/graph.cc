#include "tests/softgpu/runtime/graph.h"

#include <algorithm>

namespace softgpu {
namespace {

// Queues a graph's nodes; roots come after `before`. Returns what comes last.
OpPtr EnqueueGraph(Runtime& runtime, const CUgraph_st& graph, const std::vector<OpPtr>& before,
                   const CallSite& site) {
  std::map<cudaGraphNode_t, OpPtr> ops;
  std::vector<OpPtr> all = before;
  for (cudaGraphNode_t node : InOrder(graph)) {
    std::vector<OpPtr> after;
    for (cudaGraphNode_t other : node->after) after.push_back(ops.at(other));
    if (after.empty()) after = before;
    OpPtr op;
    if (node->type == cudaGraphNodeTypeWaitEvent && node->event->op) {
      after.push_back(node->event->op);
    }
    if (node->child) {
      op = EnqueueGraph(runtime, *node->child, after, node->site);
    } else {
      op = runtime.streams.EnqueueAfter(node->enabled ? node->work : Work(NoWork{}), node->site,
                                        after);
    }
    if (node->type == cudaGraphNodeTypeEventRecord) node->event->op = op;
    ops[node] = op;
    all.push_back(op);
  }
  return runtime.streams.EnqueueAfter(NoWork{}, site, all);
}

}  // namespace

cudaGraphNodeType TypeOf(const Work& work) {
  if (std::holds_alternative<KernelWork>(work)) return cudaGraphNodeTypeKernel;
  if (std::holds_alternative<CopyWork>(work)) return cudaGraphNodeTypeMemcpy;
  if (std::holds_alternative<FillWork>(work)) return cudaGraphNodeTypeMemset;
  if (std::holds_alternative<HostWork>(work)) return cudaGraphNodeTypeHost;
  return cudaGraphNodeTypeEmpty;
}

cudaGraphNode_t AddNode(CUgraph_st& graph, cudaGraphNodeType type, Work work,
                        const std::vector<cudaGraphNode_t>& after, const CallSite& site) {
  auto node = std::make_unique<CUgraphNode_st>();
  node->type = type;
  node->graph = &graph;
  node->after = after;
  node->work = std::move(work);
  node->site = site;
  graph.nodes.push_back(std::move(node));
  return graph.nodes.back().get();
}

std::unique_ptr<CUgraph_st> CloneGraph(const CUgraph_st& graph) {
  auto clone = std::make_unique<CUgraph_st>();
  std::map<cudaGraphNode_t, cudaGraphNode_t> copies;
  for (const auto& node : graph.nodes) {
    cudaGraphNode_t copy = AddNode(*clone, node->type, node->work, {}, node->site);
    copy->kind = node->kind;
    copy->event = node->event;
    copy->enabled = node->enabled;
    copy->origin = node.get();
    if (node->child) copy->child = CloneGraph(*node->child);
    copies[node.get()] = copy;
  }
  for (const auto& node : graph.nodes) {
    for (cudaGraphNode_t other : node->after) {
      copies.at(node.get())->after.push_back(copies.at(other));
    }
  }
  return clone;
}

cudaGraphNode_t FindCopy(const CUgraph_st& graph, cudaGraphNode_t original) {
  for (const auto& node : graph.nodes) {
    if (node->origin == original) return node.get();
  }
  return nullptr;
}

std::vector<cudaGraphNode_t> InOrder(const CUgraph_st& graph) {
  std::map<cudaGraphNode_t, size_t> waiting;
  std::map<cudaGraphNode_t, std::vector<cudaGraphNode_t>> next;
  std::vector<cudaGraphNode_t> order;
  for (const auto& node : graph.nodes) {
    waiting[node.get()] = node->after.size();
    for (cudaGraphNode_t other : node->after) next[other].push_back(node.get());
    if (node->after.empty()) order.push_back(node.get());
  }
  for (size_t i = 0; i < order.size(); ++i) {
    for (cudaGraphNode_t node : next[order[i]]) {
      if (--waiting[node] == 0) order.push_back(node);
    }
  }
  if (order.size() != graph.nodes.size()) order.clear();
  return order;
}

void LaunchGraph(Runtime& runtime, CUgraphExec_st& exec, cudaStream_t stream,
                 const CallSite& site) {
  std::vector<OpPtr> before = runtime.streams.Before(stream);
  if (exec.last) before.push_back(exec.last);
  exec.last = EnqueueGraph(runtime, *exec.graph, before, site);
  runtime.streams.SetTail(stream, exec.last);
}

}  // namespace softgpu
