// What every launcher in kernels/cuda/ uses: the stream of a context, checked calls, grid sizes.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "kernels/runtime/check.h"
#include "kernels/runtime/context.h"
#include "kernels/runtime/integers.h"

namespace lseg::cuda {

// LSEG_CUDA_CHECK(cudaMemcpy(...)): throws Error with CUDA's name and words for what went wrong,
// which CUDA then forgets: the next launch is not blamed for it.
#define LSEG_CUDA_CHECK(call)                                                                    \
  do {                                                                                           \
    const cudaError_t lseg_cuda_status = (call);                                                 \
    if (lseg_cuda_status != cudaSuccess) cudaGetLastError();                                     \
    LSEG_CHECK(lseg_cuda_status == cudaSuccess, "CUDA: " #call ": "                              \
                                                    << cudaGetErrorName(lseg_cuda_status) << ": " \
                                                    << cudaGetErrorString(lseg_cuda_status));    \
  } while (false)

// After a launch: throws where it was refused. What goes wrong while the kernel runs shows in
// Context::Synchronize.
inline void CheckLaunch(const char* kernel) {
  const cudaError_t status = cudaGetLastError();
  LSEG_CHECK(status == cudaSuccess, "CUDA: launch of " << kernel << ": " << cudaGetErrorName(status)
                                                       << ": " << cudaGetErrorString(status));
}

cudaStream_t StreamOf(const Context& context);
// The context's fault word, in device memory: kernels report with atomicCAS(fault, 0, code).
int32_t* FaultWord(const Context& context);
int Multiprocessors(const Context& context);
// Whether the GPU runs what is compiled for sm_90a: no other compute capability than 9.0 does.
bool HasSm90a(const Context& context);
// kScratchBytes of device memory for the partial sums of one op; the next op may overwrite them.
constexpr int64_t kScratchBytes = int64_t{1} << 20;
void* Scratch(const Context& context);


// Blocks of a grid-stride loop over `count` elements: enough to fill the GPU, at most one a chunk.
inline unsigned GridFor(const Context& context, int64_t count, int block, int blocks_per_sm = 8) {
  const int64_t most = int64_t{Multiprocessors(context)} * blocks_per_sm;
  const int64_t wanted = CeilDiv(count, block);
  return static_cast<unsigned>(wanted < 1 ? 1 : wanted < most ? wanted : most);
}

}  // namespace lseg::cuda
