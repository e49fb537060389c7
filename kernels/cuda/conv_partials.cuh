// The second half of backward weights: blocks that share the pixels leave partial sums in the
// workspace, and these are added up in the order of the blocks, so that runs repeat bit for bit.
#pragma once

#include <cstdint>

#include "kernels/cuda/launch.h"

namespace lseg::cuda {

constexpr int kPartialElements = 64;  // a block of SumPartials
constexpr int kPartialSlices = 8;     // at most; each adds up every such part, then they are added

// A target for sums that are the weights' gradients and, behind them, the bias' (null: not wanted).
struct WeightsThenBias {
  __device__ float* operator()(int64_t index) const {
    if (index < weights) return d_weight + index;
    return d_bias == nullptr ? nullptr : d_bias + index - weights;
  }
  int64_t weights;
  float* d_weight;
  float* d_bias;
};

// partials: [parts][count]. target(i): where sum i goes, null for padding.
template <class Target>
__global__ void SumPartials(const float* __restrict__ partials, int parts, int64_t count,
                            Target target, bool add) {
  __shared__ float sums[kPartialSlices][kPartialElements];
  const int64_t index = static_cast<int64_t>(blockIdx.x) * kPartialElements + threadIdx.x;
  float sum = 0;
  if (index < count) {
#pragma unroll 4
    for (int part = threadIdx.y; part < parts; part += blockDim.y) {
      sum += partials[part * count + index];
    }
  }
  sums[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y != 0 || index >= count) return;
  for (int slice = 1; slice < blockDim.y; ++slice) sum += sums[slice][threadIdx.x];
  float* to = target(index);
  if (to != nullptr) *to = add ? *to + sum : sum;
}

template <class Target>
void RunSumPartials(const Context& context, const float* partials, int parts, int64_t count,
                    Target target, bool add) {
  const dim3 block(kPartialElements, parts < kPartialSlices ? parts : kPartialSlices);
  SumPartials<<<static_cast<unsigned>(CeilDiv(count, kPartialElements)), block, 0,
                StreamOf(context)>>>(partials, parts, count, target, add);
  CheckLaunch("SumPartials");
}

}  // namespace lseg::cuda
