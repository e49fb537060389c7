// Convolutions that several tests take.
#pragma once

#include <vector>

#include "kernels/conv.h"

namespace lseg {

inline ConvParams Conv3x3(Shape src, int64_t out_channels, int64_t pad = 1) {
  return {.src = src,
          .out_channels = out_channels,
          .kernel_h = 3,
          .kernel_w = 3,
          .pad_h = pad,
          .pad_w = pad};
}

// Small ones for the engines of libraries: odd sizes, few channels, all that differs between the
// axes, groups, 1x1.
inline std::vector<ConvParams> LibraryCases() {
  std::vector<ConvParams> cases = {Conv3x3({2, 16, 9, 11}, 24), Conv3x3({1, 5, 7, 6}, 3),
                                   Conv3x3({1, 64, 12, 20}, 64)};
  cases.push_back({.src = {1, 4, 9, 10},
                   .out_channels = 6,
                   .kernel_h = 2,
                   .kernel_w = 3,
                   .stride_h = 2,
                   .stride_w = 3,
                   .pad_h = 1,
                   .pad_w = 2,
                   .dilation_h = 2,
                   .bias = false});
  cases.push_back({.src = {2, 16, 5, 4}, .out_channels = 8, .kernel_h = 3, .pad_h = 1, .group = 2});
  cases.push_back({.src = {2, 64, 5, 7}, .out_channels = 4});
  cases.push_back({.src = {1, 24, 19, 17}, .out_channels = 40, .bias = false});
  return cases;
}

}  // namespace lseg
