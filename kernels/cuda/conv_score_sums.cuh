// The end of a block that took score layers' gradients: its threads' sums for the weights, each of
// the channels of 16 bytes, become the block's.
#pragma once

#include "kernels/cuda/vector.cuh"

namespace lseg::cuda {

// How a block of kThreads walks: `segments` of kWidth channels, 16 bytes, next to each other, for
// `slots` places (pixels, or windows of them) at a time. Threads beyond have nothing to do.
template <int kThreads, int kWidth>
struct ScoreLayout {
  explicit ScoreLayout(int channels) : segments(channels / kWidth), slots(kThreads / segments) {}

  int segments, slots;
};

// partial: [outputs * channels, then outputs], written: what the slots of a segment have, one after
// the other; of the bias' sums, which all segments have alike, the first one's.
template <int kThreads, int kOutputs, int kWidth>
__device__ void WriteScoreSums(const ScoreLayout<kThreads, kWidth>& layout, int channels,
                               int outputs, const float (&sums)[kOutputs][kWidth],
                               const float (&bias)[kOutputs], float* partial) {
  __shared__ float shared[kThreads * (kWidth + 1)];
  const int slot = threadIdx.x / layout.segments, segment = threadIdx.x % layout.segments;
#pragma unroll
  for (int o = 0; o < kOutputs; ++o) {
    if (o >= outputs) break;
    __syncthreads();
    if (slot < layout.slots) {
      float* mine = shared + slot * (channels + layout.segments);
#pragma unroll
      for (int i = 0; i < kWidth; ++i) mine[segment * kWidth + i] = sums[o][i];
      mine[channels + segment] = bias[o];
    }
    __syncthreads();
    for (int i = threadIdx.x; i <= channels; i += kThreads) {
      float sum = 0;
      for (int s = 0; s < layout.slots; ++s) {
        sum += shared[s * (channels + layout.segments) + i];
      }
      partial[i < channels ? o * channels + i : outputs * channels + o] = sum;
    }
  }
}

}  // namespace lseg::cuda
