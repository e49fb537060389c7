// Nodes' parameters, in the forms that CUDA's many functions take them, as work.
#pragma once

#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/graph.h"

namespace softgpu {

// What a node is to do; made by the functions below, which check it.
struct NodeSpec {
  cudaGraphNodeType type = cudaGraphNodeTypeEmpty;
  Work work;
  cudaMemcpyKind kind = cudaMemcpyDefault;
  cudaEvent_t event = nullptr;
  std::unique_ptr<CUgraph_st> child;
};

cudaError_t KernelSpec(Runtime& runtime, const cudaKernelNodeParams& params, const CallSite& site,
                       NodeSpec* spec);
cudaError_t CopySpec(Runtime& runtime, CopyWork copy, cudaMemcpyKind kind, const CallSite& site,
                     NodeSpec* spec);
cudaError_t FillSpec(Runtime& runtime, const cudaMemsetParams& params, const CallSite& site,
                     NodeSpec* spec);
cudaError_t HostSpec(const cudaHostNodeParams& params, NodeSpec* spec);

// The type and everything else of the node.
void SetSpec(CUgraphNode_st& node, NodeSpec spec);
// The parameters of a kernel or copy node, in CUDA's form; pointers point into the node.
cudaKernelNodeParams KernelParams(CUgraphNode_st& node);
cudaMemsetParams FillParams(const FillWork& fill);
cudaMemcpy3DParms CopyParams(const CUgraphNode_st& node);

}  // namespace softgpu
