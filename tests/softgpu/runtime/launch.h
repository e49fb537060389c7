// Submitting work to a stream: queued, or while the stream is captured added to its graph.
#pragma once

#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/runtime.h"
#include "tests/softgpu/runtime/work.h"

namespace softgpu {

struct LaunchArguments {
  const void* function = nullptr;  // host address or handle
  dim3 grid, block;
  void** args = nullptr;
  size_t shared = 0;
  bool cooperative = false;
};

// The kernel's work, arguments copied. Errors that CUDA reports at the call itself: unknown
// function, no code, a grid or block or shared memory beyond the limits (a finding, too).
cudaError_t PrepareKernel(Runtime& runtime, const LaunchArguments& arguments, const CallSite& site,
                          KernelWork* work);
cudaError_t Launch(Runtime& runtime, const LaunchArguments& arguments, cudaStream_t stream,
                   const CallSite& site);

// Queues the work or captures it. `op`: what was queued, nullptr where captured.
cudaError_t Submit(Runtime& runtime, cudaStream_t stream, Work work, const CallSite& site,
                   OpPtr* op = nullptr);

// A kernel's limits and needs.
struct KernelNeeds {
  uint32_t static_shared = 0, local_bytes = 0;
  uint32_t max_threads = 1024;
  int registers = 0;  // an estimate where ptxas is not asked
};
KernelNeeds Needs(const Code& code);
// Blocks of a kernel that fit on a multiprocessor at once.
int ActiveBlocks(int arch, const KernelNeeds& needs, int threads, size_t dynamic_shared);

}  // namespace softgpu
