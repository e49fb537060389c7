// Deconvolution of each channel by itself with taps that are a product of a column and a row, as
// bilinear upsampling has them, the case that L-Seg and its kin are made of: its gradient falls
// apart into a sum along columns and one along rows.
#pragma once

#include "kernels/deconv.h"

namespace lseg {

// Whether the weights are that: 0 from a channel to others, the product within 2^-22 of each weight
// (what rounding leaves); without groups and dilation, of kernels that the op below takes.
bool IsSeparableDiagonal(const DeconvParams& params, const float* weight);

// DeconvBackwardData for such weights; differs from the general case by rounding. Zeros of other
// channels are not multiplied: a NaN in d_dst shows in its own channel only.
void SeparableBackwardData(Context& context, const DeconvParams& params, const float* d_dst,
                           const float* weight, float* d_src, GradMode d_src_mode);

}  // namespace lseg
