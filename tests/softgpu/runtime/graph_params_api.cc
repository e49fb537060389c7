// Parameters of nodes, read and changed, in graphs and in executables.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/graph.h"
#include "tests/softgpu/runtime/graph_nodes.h"
#include "tests/softgpu/runtime/transfers.h"

namespace {

using softgpu::CallSite;
using softgpu::NodeSpec;
using softgpu::Runtime;

// The node of the executable that came from `node`; without an executable, `node`.
cudaGraphNode_t Target(cudaGraphExec_t exec, cudaGraphNode_t node) {
  if (exec == nullptr || node == nullptr) return node;
  return softgpu::FindCopy(*exec->graph, node);
}

template <class Make>
cudaError_t Change(cudaGraphNode_t node, cudaGraphNodeType type, Make make) {
  if (node == nullptr || node->type != type) return cudaErrorInvalidValue;
  NodeSpec spec;
  const cudaError_t error = make(&spec);
  if (error == cudaSuccess) softgpu::SetSpec(*node, std::move(spec));
  return error;
}

cudaError_t ChangeKernel(Runtime& runtime, cudaGraphNode_t node, const cudaKernelNodeParams& params,
                         const CallSite& site) {
  return Change(node, cudaGraphNodeTypeKernel,
                [&](NodeSpec* spec) { return softgpu::KernelSpec(runtime, params, site, spec); });
}

cudaError_t ChangeCopy(Runtime& runtime, cudaGraphNode_t node, const cudaMemcpy3DParms& params,
                       const CallSite& site) {
  return Change(node, cudaGraphNodeTypeMemcpy, [&](NodeSpec* spec) {
    softgpu::CopyWork copy;
    const cudaError_t error = softgpu::FromParameters(params, site, &copy);
    if (error != cudaSuccess) return error;
    return softgpu::CopySpec(runtime, std::move(copy), params.kind, site, spec);
  });
}

cudaError_t ChangeLinear(Runtime& runtime, cudaGraphNode_t node, void* dst, const void* src,
                         size_t bytes, cudaMemcpyKind kind, const CallSite& site) {
  return Change(node, cudaGraphNodeTypeMemcpy, [&](NodeSpec* spec) {
    return softgpu::CopySpec(runtime, softgpu::Linear(dst, src, bytes), kind, site, spec);
  });
}

cudaError_t ChangeFill(Runtime& runtime, cudaGraphNode_t node, const cudaMemsetParams& params,
                       const CallSite& site) {
  return Change(node, cudaGraphNodeTypeMemset,
                [&](NodeSpec* spec) { return softgpu::FillSpec(runtime, params, site, spec); });
}

cudaError_t ChangeHost(cudaGraphNode_t node, const cudaHostNodeParams& params) {
  return Change(node, cudaGraphNodeTypeHost,
                [&](NodeSpec* spec) { return softgpu::HostSpec(params, spec); });
}

cudaError_t ChangeEvent(Runtime& runtime, cudaGraphNode_t node, cudaGraphNodeType type,
                        cudaEvent_t event) {
  if (node == nullptr || node->type != type) return cudaErrorInvalidValue;
  if (!runtime.streams.IsEvent(event)) return cudaErrorInvalidResourceHandle;
  node->event = event;
  return cudaSuccess;
}

bool Is(cudaGraphNode_t node, cudaGraphNodeType type) {
  return node != nullptr && node->type == type;
}

}  // namespace

extern "C" {

cudaError_t cudaGraphKernelNodeGetParams(cudaGraphNode_t node, cudaKernelNodeParams* params) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (!Is(node, cudaGraphNodeTypeKernel)) return cudaErrorInvalidValue;
    *params = softgpu::KernelParams(*node);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphKernelNodeSetParams(cudaGraphNode_t node, const cudaKernelNodeParams* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeKernel(runtime, node, *params, site);
  });
}

cudaError_t cudaGraphExecKernelNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaKernelNodeParams* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeKernel(runtime, Target(exec, node), *params, site);
  });
}

cudaError_t cudaGraphMemcpyNodeGetParams(cudaGraphNode_t node, cudaMemcpy3DParms* params) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (!Is(node, cudaGraphNodeTypeMemcpy)) return cudaErrorInvalidValue;
    *params = softgpu::CopyParams(*node);
    return cudaSuccess;
  });
}

cudaError_t cudaGraphMemcpyNodeSetParams(cudaGraphNode_t node, const cudaMemcpy3DParms* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeCopy(runtime, node, *params, site);
  });
}

cudaError_t cudaGraphExecMemcpyNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaMemcpy3DParms* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeCopy(runtime, Target(exec, node), *params, site);
  });
}

cudaError_t cudaGraphMemcpyNodeSetParams1D(cudaGraphNode_t node, void* dst, const void* src,
                                           size_t bytes, cudaMemcpyKind kind) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeLinear(runtime, node, dst, src, bytes, kind, site);
  });
}

cudaError_t cudaGraphExecMemcpyNodeSetParams1D(cudaGraphExec_t exec, cudaGraphNode_t node,
                                               void* dst, const void* src, size_t bytes,
                                               cudaMemcpyKind kind) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeLinear(runtime, Target(exec, node), dst, src, bytes, kind, site);
  });
}

cudaError_t cudaGraphMemsetNodeGetParams(cudaGraphNode_t node, cudaMemsetParams* params) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (!Is(node, cudaGraphNodeTypeMemset)) return cudaErrorInvalidValue;
    *params = softgpu::FillParams(std::get<softgpu::FillWork>(node->work));
    return cudaSuccess;
  });
}

cudaError_t cudaGraphMemsetNodeSetParams(cudaGraphNode_t node, const cudaMemsetParams* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeFill(runtime, node, *params, site);
  });
}

cudaError_t cudaGraphExecMemsetNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                             const cudaMemsetParams* params) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ChangeFill(runtime, Target(exec, node), *params, site);
  });
}

cudaError_t cudaGraphHostNodeGetParams(cudaGraphNode_t node, cudaHostNodeParams* params) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (!Is(node, cudaGraphNodeTypeHost)) return cudaErrorInvalidValue;
    const auto& host = std::get<softgpu::HostWork>(node->work);
    *params = {host.function, host.data};
    return cudaSuccess;
  });
}

cudaError_t cudaGraphHostNodeSetParams(cudaGraphNode_t node, const cudaHostNodeParams* params) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) { return ChangeHost(node, *params); });
}

cudaError_t cudaGraphExecHostNodeSetParams(cudaGraphExec_t exec, cudaGraphNode_t node,
                                           const cudaHostNodeParams* params) {
  return SOFTGPU_CALL(
      [=](Runtime&, const CallSite&) { return ChangeHost(Target(exec, node), *params); });
}

cudaError_t cudaGraphEventRecordNodeGetEvent(cudaGraphNode_t node, cudaEvent_t* event) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (!Is(node, cudaGraphNodeTypeEventRecord)) return cudaErrorInvalidValue;
    *event = node->event;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphEventWaitNodeGetEvent(cudaGraphNode_t node, cudaEvent_t* event) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (!Is(node, cudaGraphNodeTypeWaitEvent)) return cudaErrorInvalidValue;
    *event = node->event;
    return cudaSuccess;
  });
}

cudaError_t cudaGraphExecEventRecordNodeSetEvent(cudaGraphExec_t exec, cudaGraphNode_t node,
                                                 cudaEvent_t event) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return ChangeEvent(runtime, Target(exec, node), cudaGraphNodeTypeEventRecord, event);
  });
}

cudaError_t cudaGraphExecEventWaitNodeSetEvent(cudaGraphExec_t exec, cudaGraphNode_t node,
                                               cudaEvent_t event) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return ChangeEvent(runtime, Target(exec, node), cudaGraphNodeTypeWaitEvent, event);
  });
}

cudaError_t cudaGraphChildGraphNodeGetGraph(cudaGraphNode_t node, cudaGraph_t* graph) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (!Is(node, cudaGraphNodeTypeGraph)) return cudaErrorInvalidValue;
    *graph = node->child.get();
    return cudaSuccess;
  });
}

}  // extern "C"
