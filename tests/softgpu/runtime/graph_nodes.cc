#include "tests/softgpu/runtime/graph_nodes.h"

#include <algorithm>

#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/transfers.h"

namespace softgpu {

cudaError_t KernelSpec(Runtime& runtime, const cudaKernelNodeParams& params, const CallSite& site,
                       NodeSpec* spec) {
  if (params.extra != nullptr) return NotSupported(site.call, "a kernel's packed arguments");
  KernelWork work;
  const cudaError_t error = PrepareKernel(
      runtime,
      {params.func, params.gridDim, params.blockDim, params.kernelParams, params.sharedMemBytes},
      site, &work);
  spec->type = cudaGraphNodeTypeKernel;
  spec->work = std::move(work);
  return error;
}

cudaError_t CopySpec(Runtime& runtime, CopyWork copy, cudaMemcpyKind kind, const CallSite& site,
                     NodeSpec* spec) {
  const cudaError_t error = CheckCopy(runtime, copy, kind, site);
  spec->type = cudaGraphNodeTypeMemcpy;
  spec->work = std::move(copy);
  spec->kind = kind;
  return error;
}

cudaError_t FillSpec(Runtime& runtime, const cudaMemsetParams& params, const CallSite& site,
                     NodeSpec* spec) {
  if (params.elementSize != 1 && params.elementSize != 2 && params.elementSize != 4) {
    return cudaErrorInvalidValue;
  }
  FillWork fill = LinearFill(params.dst, 0, params.width * params.elementSize);
  fill.value = params.value;
  fill.element = params.elementSize;
  fill.extent.height = params.height;
  fill.dst.pitch = params.pitch;
  const cudaError_t error = CheckFill(runtime, fill, site);
  spec->type = cudaGraphNodeTypeMemset;
  spec->work = fill;
  return error;
}

cudaError_t HostSpec(const cudaHostNodeParams& params, NodeSpec* spec) {
  if (params.fn == nullptr) return cudaErrorInvalidValue;
  spec->type = cudaGraphNodeTypeHost;
  spec->work = HostWork{params.fn, nullptr, nullptr, params.userData};
  return cudaSuccess;
}

void SetSpec(CUgraphNode_st& node, NodeSpec spec) {
  node.type = spec.type;
  node.work = std::move(spec.work);
  node.kind = spec.kind;
  node.event = spec.event;
  node.child = std::move(spec.child);
}

cudaKernelNodeParams KernelParams(CUgraphNode_st& node) {
  auto& work = std::get<KernelWork>(node.work);
  LaunchConfig& config = work.config;
  node.arguments.clear();
  size_t at = 0;
  for (const ptx::Variable& param : config.module->parsed().FindFunction(config.kernel)->params) {
    const size_t align = std::max<size_t>(param.align, 1);
    at = (at + align - 1) / align * align;
    node.arguments.push_back(config.params.data() + at);
    at += param.bytes;
  }
  cudaKernelNodeParams params = {};
  params.func = work.function;
  params.gridDim = dim3(config.grid[0], config.grid[1], config.grid[2]);
  params.blockDim = dim3(config.block[0], config.block[1], config.block[2]);
  params.sharedMemBytes = config.dynamic_shared;
  params.kernelParams = node.arguments.data();
  return params;
}

cudaMemsetParams FillParams(const FillWork& fill) {
  cudaMemsetParams params = {};
  params.dst = reinterpret_cast<void*>(fill.dst.address);
  params.pitch = fill.dst.pitch;
  params.value = fill.value;
  params.elementSize = fill.element;
  params.width = fill.extent.width / fill.element;
  params.height = fill.extent.height;
  return params;
}

cudaMemcpy3DParms CopyParams(const CUgraphNode_st& node) {
  const auto& copy = std::get<CopyWork>(node.work);
  const auto pointer = [&](const Region& region) {
    return cudaPitchedPtr{reinterpret_cast<void*>(region.address), region.pitch, copy.extent.width,
                          region.pitch == 0 ? copy.extent.height : region.slice / region.pitch};
  };
  cudaMemcpy3DParms params = {};
  params.dstPtr = pointer(copy.dst);
  params.srcPtr = pointer(copy.src);
  params.extent = {copy.extent.width, copy.extent.height, copy.extent.depth};
  params.kind = node.kind;
  return params;
}

}  // namespace softgpu
