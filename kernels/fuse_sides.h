// Side maps weighed and added up, class by class: what L-Seg's slices, concats and 1x1 convolutions
// do in training, without the copies.
//
//   dst[n,c,y,x] = bias[c] + sum over s of weight[c,s] side_s[n,c,y,x]
//
// Memory bounds it: forward reads each side map once and writes one; backward reads them and d_dst
// once, and writes (or adds to) the gradient of each.
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct FuseSidesParams {
  static constexpr int kMost = 8;

  Shape dst;      // (N,C,H,W), also of every side map; C at most kMost
  int sides = 0;  // at most kMost

  // Throws Error with the rule that broke.
  void Validate() const;
};

// Memory of the context's device, f32, NCHW. By side, or by class: the weights of the sides, and
// one bias (null: none).
struct FuseSidesArgs {
  const float* side[FuseSidesParams::kMost] = {};
  const float* weight[FuseSidesParams::kMost] = {};
  const float* bias[FuseSidesParams::kMost] = {};
};

void FuseSidesForward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                      float* dst);

// Null where the mode is kSkip.
struct FuseSidesGradients {
  float* d_side[FuseSidesParams::kMost] = {};
  float* d_weight[FuseSidesParams::kMost] = {};
  float* d_bias[FuseSidesParams::kMost] = {};
  GradMode d_side_mode[FuseSidesParams::kMost] = {};
  GradMode d_weight_mode[FuseSidesParams::kMost] = {};
  GradMode d_bias_mode[FuseSidesParams::kMost] = {};
};

// The order of all sums depends on the shape and, on a GPU, on its multiprocessors only.
void FuseSidesBackward(Context& context, const FuseSidesParams& params, const FuseSidesArgs& args,
                       const float* d_dst, const FuseSidesGradients& gradients);

}  // namespace lseg
