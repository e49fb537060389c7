// A training crop made from an 8-bit photograph and the classes of its pixels: a window of the
// scaled photograph, mirrored and turned, with its colours moved and a mean subtracted. What
// lseg/augment.h draws is applied by this on any device.
//
// The photograph is scaled to scaled_height x scaled_width, each axis bilinear where it grows
// (between pixel centres, edges repeated) and by area where it shrinks. Classes follow with the
// same weights: a pixel belongs to a class where the weights of that class' pixels reach 0.5.
#pragma once

#include <array>
#include <cstdint>

#include "kernels/runtime/context.h"

namespace lseg {

struct CropResampleParams {
  static constexpr int kChannels = 3;
  static constexpr int kMaxClasses = 8;  // bits of a byte

  int64_t src_height = 0, src_width = 0;
  int64_t scaled_height = 0, scaled_width = 0;
  int64_t height = 0, width = 0;  // of the crop
  // Corner of the window in the scaled photograph. The window is height x width, or width x height
  // with a turn. Beyond the photograph is black (0 before gain and offset), without classes.
  int64_t top = 0, left = 0;
  // In this order: mirror the window left-right, up-down, turn it clockwise by 90 degrees.
  bool flip_x = false, flip_y = false, turn = false;
  // value * gain + offset, by channel of src; the mean, by channel of data, is taken off the
  // offset.
  std::array<float, kChannels> gain = {1, 1, 1}, offset = {0, 0, 0}, mean = {0, 0, 0};
  int classes = 0;
  uint8_t left_out = 0;  // bit c: the label of class c is kNotAnnotated (kernels/label.h)

  // Throws Error with the rule that broke.
  void Validate() const;
};

// src: u8 (src_height, src_width, 3), R G B. class_bits: u8 (src_height, src_width), bit c for
// class c. data: f32 (3, height, width), B G R. label: u8 (classes, height, width), 0 or 1, but for
// classes left out. Both are written. Labels are the same on every device; data differs by 4e-7 of
// 255 * gain at most.
void CropResample(Context& context, const CropResampleParams& params, const uint8_t* src,
                  const uint8_t* class_bits, float* data, uint8_t* label);

}  // namespace lseg
