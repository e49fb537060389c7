// Graphs as wholes: made, looked into, instantiated, updated, launched.
#include <cuda_runtime_api.h>

#include <algorithm>
#include <set>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/graph.h"
#include "tests/softgpu/runtime/runtime.h"

namespace {

using softgpu::CallSite;
using softgpu::Runtime;

// CUDA's way to give a list: how many there are, or as many as there is room for.
template <class T>
void Give(const std::vector<T>& list, T* out, size_t* count) {
  if (out != nullptr) {
    for (size_t i = 0; i < *count; ++i) out[i] = i < list.size() ? list[i] : nullptr;
    *count = std::min(*count, list.size());
  } else {
    *count = list.size();
  }
}

cudaError_t Instantiate(cudaGraphExec_t* exec, cudaGraph_t graph, unsigned long long flags) {
  if (exec == nullptr || graph == nullptr) return cudaErrorInvalidValue;
  if (softgpu::InOrder(*graph).size() != graph->nodes.size()) return cudaErrorInvalidValue;
  auto made = std::make_unique<CUgraphExec_st>();
  made->graph = softgpu::CloneGraph(*graph);
  made->flags = flags;
  *exec = made.release();
  return cudaSuccess;
}

// The update's node keeps its place: the same type, after the same ones.
cudaGraphExecUpdateResult Compare(const CUgraphNode_st& mine, const CUgraphNode_st& its,
                                  const std::map<cudaGraphNode_t, size_t>& my_index,
                                  const std::map<cudaGraphNode_t, size_t>& its_index) {
  if (mine.type != its.type) return cudaGraphExecUpdateErrorNodeTypeChanged;
  std::set<size_t> my_after, its_after;
  for (cudaGraphNode_t node : mine.after) my_after.insert(my_index.at(node));
  for (cudaGraphNode_t node : its.after) its_after.insert(its_index.at(node));
  return my_after == its_after ? cudaGraphExecUpdateSuccess
                               : cudaGraphExecUpdateErrorTopologyChanged;
}

std::map<cudaGraphNode_t, size_t> Indices(const CUgraph_st& graph) {
  std::map<cudaGraphNode_t, size_t> indices;
  for (const auto& node : graph.nodes) indices.emplace(node.get(), indices.size());
  return indices;
}

cudaError_t Update(CUgraphExec_st& exec, const CUgraph_st& graph,
                   cudaGraphExecUpdateResultInfo* info) {
  *info = {cudaGraphExecUpdateSuccess, nullptr, nullptr};
  if (exec.graph->nodes.size() != graph.nodes.size()) {
    info->result = cudaGraphExecUpdateErrorTopologyChanged;
    return cudaErrorGraphExecUpdateFailure;
  }
  const auto mine = Indices(*exec.graph), its = Indices(graph);
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    info->result = Compare(*exec.graph->nodes[i], *graph.nodes[i], mine, its);
    if (info->result == cudaGraphExecUpdateSuccess) continue;
    info->errorNode = graph.nodes[i].get();
    return cudaErrorGraphExecUpdateFailure;
  }
  // In place: the nodes go on being found by those that they were instantiated from.
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    CUgraphNode_st& node = *exec.graph->nodes[i];
    const CUgraphNode_st& other = *graph.nodes[i];
    node.work = other.work;
    node.kind = other.kind;
    node.event = other.event;
    if (other.child) node.child = softgpu::CloneGraph(*other.child);
  }
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaGraphCreate(cudaGraph_t* graph, unsigned flags) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (graph == nullptr || flags != 0) return cudaErrorInvalidValue;
    *graph = new CUgraph_st;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (graph == nullptr) return cudaErrorInvalidValue;
    delete graph;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphClone(cudaGraph_t* clone, cudaGraph_t graph) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (clone == nullptr || graph == nullptr) return cudaErrorInvalidValue;
    *clone = softgpu::CloneGraph(*graph).release();
    return cudaSuccess;
  });
}

cudaError_t cudaGraphNodeFindInClone(cudaGraphNode_t* node, cudaGraphNode_t original,
                                     cudaGraph_t clone) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *node = softgpu::FindCopy(*clone, original);
    return *node == nullptr ? cudaErrorInvalidValue : cudaSuccess;
  });
}

cudaError_t cudaGraphNodeGetType(cudaGraphNode_t node, cudaGraphNodeType* type) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *type = node->type;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    std::vector<cudaGraphNode_t> all;
    for (const auto& node : graph->nodes) all.push_back(node.get());
    Give(all, nodes, count);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetRootNodes(cudaGraph_t graph, cudaGraphNode_t* nodes, size_t* count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    std::vector<cudaGraphNode_t> roots;
    for (const auto& node : graph->nodes) {
      if (node->after.empty()) roots.push_back(node.get());
    }
    Give(roots, nodes, count);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphGetEdges(cudaGraph_t graph, cudaGraphNode_t* from, cudaGraphNode_t* to,
                              cudaGraphEdgeData* edges, size_t* count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    std::vector<cudaGraphNode_t> before, after;
    for (const auto& node : graph->nodes) {
      for (cudaGraphNode_t other : node->after) {
        before.push_back(other);
        after.push_back(node.get());
      }
    }
    size_t room = *count;
    if (edges != nullptr) std::fill(edges, edges + room, cudaGraphEdgeData{});
    Give(before, from, count);
    Give(after, to, to == nullptr ? count : &room);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphNodeGetDependencies(cudaGraphNode_t node, cudaGraphNode_t* nodes,
                                         cudaGraphEdgeData* edges, size_t* count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (edges != nullptr) std::fill(edges, edges + *count, cudaGraphEdgeData{});
    Give(node->after, nodes, count);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphNodeGetDependentNodes(cudaGraphNode_t node, cudaGraphNode_t* nodes,
                                           cudaGraphEdgeData* edges, size_t* count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    std::vector<cudaGraphNode_t> next;
    for (const auto& other : node->graph->nodes) {
      if (std::find(other->after.begin(), other->after.end(), node) != other->after.end()) {
        next.push_back(other.get());
      }
    }
    if (edges != nullptr) std::fill(edges, edges + *count, cudaGraphEdgeData{});
    Give(next, nodes, count);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphAddDependencies(cudaGraph_t graph, const cudaGraphNode_t* from,
                                     const cudaGraphNode_t* to, const cudaGraphEdgeData*,
                                     size_t count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    for (size_t i = 0; i < count; ++i) {
      if (from[i] == to[i] || from[i]->graph != graph || to[i]->graph != graph) {
        return cudaErrorInvalidValue;
      }
      to[i]->after.push_back(from[i]);
    }
    return cudaSuccess;
  });
}

cudaError_t cudaGraphRemoveDependencies(cudaGraph_t, const cudaGraphNode_t* from,
                                        const cudaGraphNode_t* to, const cudaGraphEdgeData*,
                                        size_t count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    for (size_t i = 0; i < count; ++i) std::erase(to[i]->after, from[i]);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphDestroyNode(cudaGraphNode_t node) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (node == nullptr) return cudaErrorInvalidValue;
    cudaGraph_t graph = node->graph;
    for (const auto& other : graph->nodes) std::erase(other->after, node);
    std::erase_if(graph->nodes, [&](const auto& other) { return other.get() == node; });
    return cudaSuccess;
  });
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* exec, cudaGraph_t graph,
                                 unsigned long long flags) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) { return Instantiate(exec, graph, flags); });
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* exec, cudaGraph_t graph,
                                          unsigned long long flags) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) { return Instantiate(exec, graph, flags); });
}

cudaError_t cudaGraphInstantiateWithParams(cudaGraphExec_t* exec, cudaGraph_t graph,
                                           cudaGraphInstantiateParams* params) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    const cudaError_t error = Instantiate(exec, graph, params->flags);
    params->errNode_out = nullptr;
    params->result_out =
        error == cudaSuccess ? cudaGraphInstantiateSuccess : cudaGraphInstantiateInvalidStructure;
    return error;
  });
}

cudaError_t cudaGraphExecGetFlags(cudaGraphExec_t exec, unsigned long long* flags) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *flags = exec->flags;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecUpdate(cudaGraphExec_t exec, cudaGraph_t graph,
                                cudaGraphExecUpdateResultInfo* info) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (exec == nullptr || graph == nullptr || info == nullptr) return cudaErrorInvalidValue;
    return Update(*exec, *graph, info);
  });
}

cudaError_t cudaGraphNodeSetEnabled(cudaGraphExec_t exec, cudaGraphNode_t node, unsigned enabled) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    cudaGraphNode_t copy = softgpu::FindCopy(*exec->graph, node);
    if (copy == nullptr) return cudaErrorInvalidValue;
    copy->enabled = enabled != 0;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphNodeGetEnabled(cudaGraphExec_t exec, cudaGraphNode_t node, unsigned* enabled) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    cudaGraphNode_t copy = softgpu::FindCopy(*exec->graph, node);
    if (copy == nullptr) return cudaErrorInvalidValue;
    *enabled = copy->enabled;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphUpload(cudaGraphExec_t, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return runtime.streams.Find(stream) ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t handle) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    cudaStream_t stream = runtime.streams.Find(handle);
    if (exec == nullptr) return cudaErrorInvalidValue;
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (stream->capture) {
      if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
      cudaGraphNode_t node = softgpu::AddNode(*stream->capture->graph, cudaGraphNodeTypeGraph,
                                              softgpu::NoWork{}, stream->capture_after, site);
      node->child = softgpu::CloneGraph(*exec->graph);
      return softgpu::AddCapturedNode(*stream, node);
    }
    const cudaError_t error = softgpu::ImplicitInCapture(runtime, *stream);
    if (error != cudaSuccess) return error;
    softgpu::LaunchGraph(runtime, *exec, stream, site);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (exec == nullptr) return cudaErrorInvalidValue;
    delete exec;
    return cudaSuccess;
  });
}

}  // extern "C"
