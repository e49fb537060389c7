// The inner loops of the "pointwise" engine, on one range of pixels of one image.
#pragma once

#include <cstdint>

#include "kernels/runtime/bfloat16.h"

namespace lseg {

struct PointwiseRange {
  // Source: channels in blocks that lie together (8, 16, all of them for NHWC; 1 is planar).
  int64_t channels, block, block_stride;  // elements from one block's plane to the next
  int64_t outputs, pixels;                // planes of dst are `pixels` apart
  int64_t begin, end;                     // pixels to work on
  int64_t weight_stride;  // channels as stored, padding included: a row of packed weights
};

// Source and its gradient are f32, or bf16 where block > 1. A bf16 gradient is rounded once.
//
// weight: (outputs rounded up to 1, 2, 4 or 8) rows of weight_stride floats, zero where padded.
// bias may be null. dst is written.
void PointwiseForward(const PointwiseRange& range, const float* src, const float* weight,
                      const float* bias, bool relu, float* dst);
void PointwiseForward(const PointwiseRange& range, const BFloat16* src, const float* weight,
                      const float* bias, bool relu, float* dst);
void PointwiseBackwardData(const PointwiseRange& range, const float* d_dst, const float* weight,
                           bool add, float* d_src);
void PointwiseBackwardData(const PointwiseRange& range, const float* d_dst, const float* weight,
                           bool add, BFloat16* d_src);
// Adds to d_weight (outputs rows of weight_stride) and, where it is not null, to d_bias.
void PointwiseBackwardWeights(const PointwiseRange& range, const float* src, const float* d_dst,
                              float* d_weight, float* d_bias);
void PointwiseBackwardWeights(const PointwiseRange& range, const BFloat16* src, const float* d_dst,
                              float* d_weight, float* d_bias);

// 1, 2, 4 or 8.
int64_t PointwiseRows(int64_t outputs);

}  // namespace lseg
