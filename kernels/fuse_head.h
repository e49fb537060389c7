// The head of L-Seg at inference, fused: score maps of several resolutions -> bilinear upsampling,
// crop, weighted sum by channel, sigmoid; the full-size side maps are never stored.
//
//   score_l = sum over partials of the map's planes, in their order, + score_bias_l[c]
//   side_l[n,c,y,x] = side_bias_l[c] + sum over r,s of tap(r) tap(s) score_l[n,c,j,k],
//                     y + offset_h_l = j * stride_l + r,  x + offset_w_l = k * stride_l + s
//   fused[n,c,y,x] = bias[c] + sum over l of weight[c,l] side_l[n,c,y,x]
//
// with tap(r) = 1 - |r - (2 stride - 1) / 2| / stride, r in 0..2 stride - 1: a deconvolution with
// the bilinear kernel of twice the stride (Caffe's), no padding, and a crop at the offset. Beyond
// the border of a score map there are zeros, as that has it. Stride 1 means no upsampling: the map
// itself, cropped.
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct FuseHeadParams {
  static constexpr int kMaxLevels = 8;
  static constexpr int64_t kMaxStride = 64;

  struct Level {
    int64_t height = 0, width = 0;  // of the score map
    int64_t stride = 1;
    int64_t offset_h = 0, offset_w = 0;  // of the crop, in the upsampled map
    int64_t partials = 1;

    // Extent of the upsampled map from `size` score pixels.
    int64_t Upsampled(int64_t size) const { return stride == 1 ? size : (size + 1) * stride; }
  };

  Shape dst;  // (N,C,H,W) of the fused map
  int levels = 0;
  Level level[kMaxLevels];

  // Throws Error with the rule that broke.
  void Validate() const;
};

// Memory of the context's device, f32, NCHW. What may be null is not added or not written.
struct FuseHeadArgs {
  struct Level {
    const float* score = nullptr;       // (partials, N, C, height, width)
    const float* score_bias = nullptr;  // C, may be null
    const float* side_bias = nullptr;   // C, may be null
  };
  Level level[FuseHeadParams::kMaxLevels];
  const float* weight = nullptr;  // (C, levels)
  const float* bias = nullptr;    // C, may be null
  float* fused = nullptr;         // dst's shape: logits, may be null
  float* probability = nullptr;   // their sigmoid, may be null
};

// The outputs may not overlap. Sums over levels are taken in one fixed order, the devices' own.
void FuseHead(Context& context, const FuseHeadParams& params, const FuseHeadArgs& args);

}  // namespace lseg
