// Sums over the threads of a block in a fixed order: pairs within a warp, then the warps.
#pragma once

namespace lseg::cuda {

constexpr unsigned kAllLanes = 0xffffffff;

// The sum over the warp, in lane 0.
template <class T>
__device__ T WarpSum(T value) {
#pragma unroll
  for (int distance = 16; distance > 0; distance /= 2) {
    value += __shfl_down_sync(kAllLanes, value, distance);
  }
  return value;
}

// The sum over the block, in thread 0. All kThreads threads take part; may be called again at once.
template <int kThreads, class T>
__device__ T BlockSum(T value) {
  static_assert(kThreads % 32 == 0 && kThreads <= 1024);
  constexpr int kWarps = kThreads / 32;
  __shared__ T sums[kWarps];
  value = WarpSum(value);
  if (threadIdx.x % 32 == 0) sums[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x < 32) {
    value = WarpSum(threadIdx.x < kWarps ? sums[threadIdx.x] : T{});
  }
  __syncthreads();
  return value;
}

}  // namespace lseg::cuda
