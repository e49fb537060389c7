// The end of a loss' sum: partial sums of blocks, in a fixed order, divided by a normaliser.
#pragma once

#include "kernels/cuda/launch.h"
#include "kernels/cuda/reduce.cuh"

namespace lseg::cuda {

constexpr int kLossThreads = 256;  // of the blocks that make the parts

// What one block adds up.
struct LossPart {
  double loss;
  int64_t valid;  // elements that were not ignored
};

constexpr int kFinishThreads = 1024;

// One block. fixed_normalizer: NormalizerOf no valid element: 0 where their number, which the parts
// tell, is to be taken; at least 1.
inline __global__ void __launch_bounds__(kFinishThreads)
    FinishLoss(int count, const LossPart* parts, double fixed_normalizer, float* normalizer,
               float* loss) {
  LossPart sum{};
  for (int i = threadIdx.x; i < count; i += kFinishThreads) {
    sum.loss += parts[i].loss;
    sum.valid += parts[i].valid;
  }
  sum.loss = BlockSum<kFinishThreads>(sum.loss);
  sum.valid = BlockSum<kFinishThreads>(sum.valid);
  if (threadIdx.x != 0) return;
  const double given = fixed_normalizer > 0 ? fixed_normalizer : static_cast<double>(sum.valid);
  const double divisor = given > 1 ? given : 1.0;
  *normalizer = static_cast<float>(divisor);
  *loss = static_cast<float>(sum.loss / divisor);
}

}  // namespace lseg::cuda
