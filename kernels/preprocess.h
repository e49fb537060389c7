// From an 8-bit image as files hold it to what a network takes: cut, mirrored, channels reordered,
// a mean subtracted, scaled; so that a GPU is sent 3 bytes a pixel rather than 12.
//
//   dst[n,c,y,x] = (src[n, top + y, left + x', order[c]] - mean[c]) * scale,
//   x' = x, or width - 1 - x where mirrored
//
// with the mean of a mean image, where there is one, at src's position. Both roundings are those of
// f32: every device gives the same bits.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct PreprocessParams {
  static constexpr int kChannels = 3;

  int64_t batch = 1;
  int64_t src_height = 0, src_width = 0;  // pixels of three bytes, rows without gaps
  int64_t top = 0, left = 0;              // of what is taken
  int64_t height = 0, width = 0;
  bool mirror = false;
  std::array<int, kChannels> order = {2, 1, 0};   // R G B of a file to Caffe's B G R
  std::array<float, kChannels> mean = {0, 0, 0};  // of dst's channels
  float scale = 1;

  // Throws Error with the rule that broke.
  void Validate() const;
  Shape Dst() const { return {batch, kChannels, height, width}; }
};

// src: u8 (N, src_height, src_width, 3). mean_image: f32 (3, src_height, src_width) in dst's order
// of channels, taken in the place of params.mean; may be null. dst: f32 NCHW, written.
void Preprocess(Context& context, const PreprocessParams& params, const uint8_t* src,
                const float* mean_image, float* dst);

}  // namespace lseg
