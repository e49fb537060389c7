// Graphs built node by node.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/graph.h"
#include "tests/softgpu/runtime/graph_nodes.h"
#include "tests/softgpu/runtime/transfers.h"

namespace {

using softgpu::CallSite;
using softgpu::NodeSpec;
using softgpu::Runtime;

// Makes the spec and adds a node that does it.
template <class Make>
cudaError_t Add(cudaGraphNode_t* out, cudaGraph_t graph, const cudaGraphNode_t* after, size_t count,
                const CallSite& site, Make make) {
  if (out == nullptr || graph == nullptr || (count != 0 && after == nullptr)) {
    return cudaErrorInvalidValue;
  }
  for (size_t i = 0; i < count; ++i) {
    if (after[i] == nullptr || after[i]->graph != graph) return cudaErrorInvalidValue;
  }
  NodeSpec spec;
  const cudaError_t error = make(&spec);
  if (error != cudaSuccess) return error;
  *out = softgpu::AddNode(*graph, spec.type, softgpu::NoWork{}, {after, after + count}, site);
  softgpu::SetSpec(**out, std::move(spec));
  return cudaSuccess;
}

// The copy's parameters for a symbol on one side.
cudaError_t SymbolCopy(Runtime& runtime, bool to, const void* symbol, const void* other,
                       size_t bytes, size_t offset, cudaMemcpyKind kind, const CallSite& site,
                       NodeSpec* spec) {
  void* address = nullptr;
  const cudaError_t error = softgpu::SymbolAddress(runtime, symbol, offset, bytes, site, &address);
  if (error != cudaSuccess) return error;
  return softgpu::CopySpec(runtime,
                           to ? softgpu::Linear(address, other, bytes)
                              : softgpu::Linear(const_cast<void*>(other), address, bytes),
                           kind, site, spec);
}

cudaError_t EventNode(Runtime& runtime, cudaGraphNodeType type, cudaEvent_t event, NodeSpec* spec) {
  if (!runtime.streams.IsEvent(event)) return cudaErrorInvalidResourceHandle;
  spec->type = type;
  spec->event = event;
  return cudaSuccess;
}

// The generic form.
cudaError_t AnySpec(Runtime& runtime, const cudaGraphNodeParams& p, const CallSite& site,
                    NodeSpec* spec) {
  switch (p.type) {
    case cudaGraphNodeTypeKernel:
      return softgpu::KernelSpec(runtime,
                                 {p.kernel.func, p.kernel.gridDim, p.kernel.blockDim,
                                  p.kernel.sharedMemBytes, p.kernel.kernelParams, p.kernel.extra},
                                 site, spec);
    case cudaGraphNodeTypeMemcpy: {
      softgpu::CopyWork copy;
      const cudaError_t error = softgpu::FromParameters(p.memcpy.copyParams, site, &copy);
      if (error != cudaSuccess) return error;
      return softgpu::CopySpec(runtime, std::move(copy), p.memcpy.copyParams.kind, site, spec);
    }
    case cudaGraphNodeTypeMemset:
      return softgpu::FillSpec(runtime,
                               {p.memset.dst, p.memset.pitch, p.memset.value, p.memset.elementSize,
                                p.memset.width, p.memset.height},
                               site, spec);
    case cudaGraphNodeTypeHost:
      return softgpu::HostSpec({p.host.fn, p.host.userData}, spec);
    case cudaGraphNodeTypeGraph:
      if (p.graph.graph == nullptr) return cudaErrorInvalidValue;
      spec->type = p.type;
      spec->child = softgpu::CloneGraph(*p.graph.graph);
      return cudaSuccess;
    case cudaGraphNodeTypeEmpty:
      return cudaSuccess;
    case cudaGraphNodeTypeWaitEvent:
      return EventNode(runtime, p.type, p.eventWait.event, spec);
    case cudaGraphNodeTypeEventRecord:
      return EventNode(runtime, p.type, p.eventRecord.event, spec);
    default:
      return softgpu::NotSupported(site.call, "nodes of type " + std::to_string(p.type));
  }
}

}  // namespace

#define SOFTGPU_ADD(make)                                                              \
  SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {                           \
    (void)runtime;                                                                     \
    return Add(node, graph, after, count, site, [&](NodeSpec* spec) { return make; }); \
  })

extern "C" {

cudaError_t cudaGraphAddKernelNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                   const cudaGraphNode_t* after, size_t count,
                                   const cudaKernelNodeParams* params) {
  return SOFTGPU_ADD(softgpu::KernelSpec(runtime, *params, site, spec));
}

cudaError_t cudaGraphAddMemcpyNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                   const cudaGraphNode_t* after, size_t count,
                                   const cudaMemcpy3DParms* params) {
  cudaGraphNodeParams p = {};
  p.type = cudaGraphNodeTypeMemcpy;
  p.memcpy.copyParams = *params;
  return SOFTGPU_ADD(AnySpec(runtime, p, site, spec));
}

cudaError_t cudaGraphAddMemcpyNode1D(cudaGraphNode_t* node, cudaGraph_t graph,
                                     const cudaGraphNode_t* after, size_t count, void* dst,
                                     const void* src, size_t bytes, cudaMemcpyKind kind) {
  return SOFTGPU_ADD(
      softgpu::CopySpec(runtime, softgpu::Linear(dst, src, bytes), kind, site, spec));
}

cudaError_t cudaGraphAddMemcpyNodeToSymbol(cudaGraphNode_t* node, cudaGraph_t graph,
                                           const cudaGraphNode_t* after, size_t count,
                                           const void* symbol, const void* src, size_t bytes,
                                           size_t offset, cudaMemcpyKind kind) {
  return SOFTGPU_ADD(SymbolCopy(runtime, true, symbol, src, bytes, offset, kind, site, spec));
}

cudaError_t cudaGraphAddMemcpyNodeFromSymbol(cudaGraphNode_t* node, cudaGraph_t graph,
                                             const cudaGraphNode_t* after, size_t count, void* dst,
                                             const void* symbol, size_t bytes, size_t offset,
                                             cudaMemcpyKind kind) {
  return SOFTGPU_ADD(SymbolCopy(runtime, false, symbol, dst, bytes, offset, kind, site, spec));
}

cudaError_t cudaGraphAddMemsetNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                   const cudaGraphNode_t* after, size_t count,
                                   const cudaMemsetParams* params) {
  return SOFTGPU_ADD(softgpu::FillSpec(runtime, *params, site, spec));
}

cudaError_t cudaGraphAddHostNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                 const cudaGraphNode_t* after, size_t count,
                                 const cudaHostNodeParams* params) {
  return SOFTGPU_ADD(softgpu::HostSpec(*params, spec));
}

cudaError_t cudaGraphAddChildGraphNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                       const cudaGraphNode_t* after, size_t count,
                                       cudaGraph_t child) {
  cudaGraphNodeParams p = {};
  p.type = cudaGraphNodeTypeGraph;
  p.graph.graph = child;
  return SOFTGPU_ADD(AnySpec(runtime, p, site, spec));
}

cudaError_t cudaGraphAddEmptyNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                  const cudaGraphNode_t* after, size_t count) {
  return SOFTGPU_ADD((spec->type = cudaGraphNodeTypeEmpty, cudaSuccess));
}

cudaError_t cudaGraphAddEventRecordNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                        const cudaGraphNode_t* after, size_t count,
                                        cudaEvent_t event) {
  return SOFTGPU_ADD(EventNode(runtime, cudaGraphNodeTypeEventRecord, event, spec));
}

cudaError_t cudaGraphAddEventWaitNode(cudaGraphNode_t* node, cudaGraph_t graph,
                                      const cudaGraphNode_t* after, size_t count,
                                      cudaEvent_t event) {
  return SOFTGPU_ADD(EventNode(runtime, cudaGraphNodeTypeWaitEvent, event, spec));
}

cudaError_t cudaGraphAddNode(cudaGraphNode_t* node, cudaGraph_t graph, const cudaGraphNode_t* after,
                             const cudaGraphEdgeData*, size_t count, cudaGraphNodeParams* params) {
  return SOFTGPU_ADD(AnySpec(runtime, *params, site, spec));
}

cudaError_t cudaGraphNodeSetParams(cudaGraphNode_t node, cudaGraphNodeParams* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (node == nullptr || params->type != node->type) return cudaErrorInvalidValue;
    NodeSpec spec;
    const cudaError_t error = AnySpec(runtime, *params, site, &spec);
    if (error == cudaSuccess) softgpu::SetSpec(*node, std::move(spec));
    return error;
  });
}

cudaError_t cudaGraphExecNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                       cudaGraphNodeParams* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (exec == nullptr || node == nullptr) return cudaErrorInvalidValue;
    cudaGraphNode_t copy = softgpu::FindCopy(*exec->graph, node);
    if (copy == nullptr || params->type != copy->type) return cudaErrorInvalidValue;
    NodeSpec spec;
    const cudaError_t error = AnySpec(runtime, *params, site, &spec);
    if (error == cudaSuccess) softgpu::SetSpec(*copy, std::move(spec));
    return error;
  });
}

}  // extern "C"
