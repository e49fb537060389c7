// What the passes that fuse the ends of stages, and what follows them, look for.
#pragma once

#include "kernels/conv.h"
#include "kernels/pool.h"

namespace lseg {

// 1x1 to a few channels, one output a pixel.
inline bool IsScoreLayer(const ConvParams& p) {
  return p.kernel_h == 1 && p.kernel_w == 1 && p.stride_h == 1 && p.stride_w == 1 && p.pad_h == 0 &&
         p.pad_w == 0 && p.group == 1 && !p.relu && p.out_channels <= kMostScores;
}

// The sum of planes, weighted: one plane of their size.
inline bool IsFusion(const ConvParams& p) { return IsScoreLayer(p) && p.out_channels == 1; }

// Maxima over windows of 2x2, half of the size rounded up.
inline bool IsHalving(const PoolParams& p) {
  const Shape dst = p.Dst();
  return p.method == PoolParams::Method::kMax && p.kernel_h == 2 && p.kernel_w == 2 &&
         p.stride_h == 2 && p.stride_w == 2 && p.pad_h == 0 && p.pad_w == 0 &&
         dst.h == (p.src.h + 1) / 2 && dst.w == (p.src.w + 1) / 2;
}

}  // namespace lseg
