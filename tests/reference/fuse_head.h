// The fused head by its definition in double: every score pixel is spread over the pixels that its
// bilinear kernel reaches, where the op gathers.
#pragma once

#include <vector>

#include "kernels/fuse_head.h"

namespace lseg::reference {

struct FusedHead {
  std::vector<std::vector<double>> side;  // by level, dst's shape
  std::vector<double> fused;
  std::vector<double> scale;  // sum of the absolute values of all products in `fused`
};

// score[l]: (partials, N, C, height, width). score_bias, side_bias: by level, C each or empty.
// weight: (C, levels), bias: C.
FusedHead FuseHead(const FuseHeadParams& p, const std::vector<std::vector<float>>& score,
                   const std::vector<std::vector<float>>& score_bias,
                   const std::vector<std::vector<float>>& side_bias,
                   const std::vector<float>& weight, const std::vector<float>& bias);

}  // namespace lseg::reference
