// The gradient of a deconvolution whose channels go each by itself, with taps that are a product of
// a column and a row, as bilinear upsampling has them: every net of L-Seg's kin. It falls apart
// into a sum along columns and one along rows, 4 multiply-adds an element of d_dst for each pair of
// channels' 16 n. Whether weights are so is found out on the device, at each call: the host need
// not wait, and weights may change.
#pragma once

#include <cstdint>

#include "kernels/deconv.h"

namespace lseg::cuda {

// Whether the geometry allows it: as many outputs as inputs, no dilation, a kernel of at most twice
// the stride.
bool MayBeSeparable(const DeconvParams& params);

// What was found out, in the context's scratch: for each pair of channels within a group whether
// its weights are so. They are where all of them are not 0.
struct SeparablePairs {
  const int32_t* fits = nullptr;
  int count = 0;  // 0: none was asked

#ifdef __CUDACC__
  // The same in all threads of the block.
  __device__ bool AllFit() const {
    bool fit = count > 0;
    for (int i = threadIdx.x; i < count; i += blockDim.x) fit = fit && fits[i] != 0;
    return __syncthreads_and(fit) != 0;
  }
#endif
};

// DeconvBackwardData where the weights are separable: 0 from a channel to others, products within
// 2^-22 of each weight. Where they are not, it does nothing. Returns by what another kernel knows
// which it was. Zeros of other channels are not multiplied: a NaN in d_dst shows in its own channel
// only.
SeparablePairs SeparableBackwardData(Context& context, const DeconvParams& params,
                                     const float* d_dst, const float* weight, float* d_src,
                                     GradMode d_src_mode);

}  // namespace lseg::cuda
