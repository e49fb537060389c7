// One kernel for all that is done element by element: an operation states what it does to kWidth
// elements from `at` on, the kernel walks over them in vectors and finishes with single ones.
#pragma once

#include "kernels/cuda/launch.h"
#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {

// op.Run<kWidth>(at) for all multiples of kWidth, op.Run<1>(at) for the rest.
template <int kWidth, class Op>
__global__ void Elementwise(int64_t count, Op op) {
  const int64_t first = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  const int64_t vectors = count / kWidth;
  for (int64_t i = first; i < vectors; i += step) op.template Run<kWidth>(i * kWidth);
  const int64_t rest = vectors * kWidth + first;
  if (kWidth > 1 && rest < count) op.template Run<1>(rest);
}

// kWidth elements at once if `aligned`, else one by one.
template <int kWidth, class Op>
void RunElementwise(const Context& context, const char* name, int64_t count, bool aligned,
                    const Op& op) {
  if (count == 0) return;
  constexpr int kThreads = 256;
  if (aligned) {
    Elementwise<kWidth>
        <<<GridFor(context, CeilDiv(count, kWidth), kThreads), kThreads, 0, StreamOf(context)>>>(
            count, op);
  } else {
    Elementwise<1>
        <<<GridFor(context, count, kThreads), kThreads, 0, StreamOf(context)>>>(count, op);
  }
  CheckLaunch(name);
}

}  // namespace lseg::cuda
