// Copies and fills as calls make them: described, checked, queued.
#pragma once

#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/runtime.h"
#include "tests/softgpu/runtime/work.h"

namespace softgpu {

CopyWork Linear(void* dst, const void* src, size_t bytes);
CopyWork Pitched(void* dst, size_t dst_pitch, const void* src, size_t src_pitch, size_t width,
                 size_t height);
cudaError_t FromParameters(const cudaMemcpy3DParms& p, const CallSite& site, CopyWork* copy);
FillWork LinearFill(void* dst, int value, size_t bytes);
FillWork BoxFill(const cudaPitchedPtr& box, int value, const cudaExtent& extent);

// Queues (or captures); `wait`: of a call that returns when the copy is done, as far as the manual
// says so.
cudaError_t Transfer(Runtime& runtime, CopyWork copy, cudaMemcpyKind kind, cudaStream_t handle,
                     bool wait, const CallSite& site);
cudaError_t Fill(Runtime& runtime, FillWork fill, cudaStream_t handle, bool wait,
                 const CallSite& site);

// Bytes [offset, offset + bytes) of a __device__ or __constant__ variable.
cudaError_t SymbolAddress(Runtime& runtime, const void* symbol, size_t offset, size_t bytes,
                          const CallSite& site, void** address);

}  // namespace softgpu
