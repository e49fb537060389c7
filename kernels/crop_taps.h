// One pixel of a training crop, the same on every device: which source pixels it is made of, and
// what they give.
#pragma once

#include <cstdint>

#include "kernels/crop_resample.h"
#include "kernels/label.h"
#include "kernels/runtime/host_device.h"

namespace lseg {

// The source pixels of one pixel of the window along one axis; their weights add up to 1. None
// beyond the photograph.
class CropTaps {
 public:
  // Pixel `position` of an axis that is scaled from `source` to `scaled` pixels.
  LSEG_HOST_DEVICE CropTaps(int64_t position, int64_t source, int64_t scaled) {
    if (position < 0 || position >= scaled) return;
    const double step = static_cast<double>(source) / static_cast<double>(scaled);
    const double at = static_cast<double>(position);
    if (source == scaled || source == 1) {
      first = source == 1 ? 0 : position;
      count = 1;
    } else if (step < 1) {
      const double last = static_cast<double>(source - 1);
      double centre = (at + 0.5) * step - 0.5;
      centre = centre < 0 ? 0 : centre > last ? last : centre;
      first = static_cast<int64_t>(centre);
      if (first > source - 2) first = source - 2;
      count = 2;
      second_ = static_cast<float>(centre - static_cast<double>(first));
    } else {
      begin_ = at * step;
      end_ = (at + 1) * step;
      if (end_ > static_cast<double>(source)) end_ = static_cast<double>(source);
      first = static_cast<int64_t>(begin_);
      for (int64_t i = first; i < source && static_cast<double>(i) < end_; ++i) ++count;
      by_area_ = true;
    }
  }

  LSEG_HOST_DEVICE float Weight(int64_t i) const {
    if (by_area_) {
      const double low = static_cast<double>(first + i), high = low + 1;
      const double covered = (end_ < high ? end_ : high) - (begin_ > low ? begin_ : low);
      return static_cast<float>(covered / (end_ - begin_));
    }
    if (count == 1) return 1;
    return i == 0 ? 1 - second_ : second_;
  }

  int64_t first = 0, count = 0;

 private:
  bool by_area_ = false;
  float second_ = 0;
  double begin_ = 0, end_ = 0;
};

// Where pixel (y, x) of the crop lies in the window.
struct WindowPixel {
  int64_t y, x;
};
LSEG_HOST_DEVICE inline WindowPixel WindowPixelOf(const CropResampleParams& p, int64_t y,
                                                  int64_t x) {
  const int64_t window_height = p.turn ? p.width : p.height;
  const int64_t window_width = p.turn ? p.height : p.width;
  // Clockwise: row y of the window becomes column height - 1 - y, column x becomes row x.
  const WindowPixel turned = p.turn ? WindowPixel{window_height - 1 - x, y} : WindowPixel{y, x};
  return {p.flip_y ? window_height - 1 - turned.y : turned.y,
          p.flip_x ? window_width - 1 - turned.x : turned.x};
}

// A product that is rounded before it is added to, on a GPU too, where the two would become one
// operation: so a weight that lies at one half does on every device.
LSEG_HOST_DEVICE inline float RoundedProduct(float a, float b) {
#if defined(__CUDA_ARCH__)
  return __fmul_rn(a, b);
#else
  return a * b;
#endif
}

// R G B of the photograph under a pixel; columns of source pixels are added up first.
struct CropColour {
  float rgb[CropResampleParams::kChannels];
};
LSEG_HOST_DEVICE inline CropColour ColourOf(const CropResampleParams& p, const CropTaps& rows,
                                            const CropTaps& columns, const uint8_t* src) {
  CropColour colour = {{0, 0, 0}};
  for (int64_t i = 0; i < columns.count; ++i) {
    float sum[CropResampleParams::kChannels] = {0, 0, 0};
    for (int64_t j = 0; j < rows.count; ++j) {
      const uint8_t* from = src + ((rows.first + j) * p.src_width + columns.first + i) * 3;
      const float weight = rows.Weight(j);
      for (int c = 0; c < 3; ++c) sum[c] += weight * static_cast<float>(from[c]);
    }
    for (int c = 0; c < 3; ++c) colour.rgb[c] += columns.Weight(i) * sum[c];
  }
  return colour;
}

// A bit for each class whose weights reach one half.
LSEG_HOST_DEVICE inline uint8_t ClassesOf(const CropResampleParams& p, const CropTaps& rows,
                                          const CropTaps& columns, const uint8_t* class_bits) {
  if (rows.count == 0 || columns.count == 0) return 0;
  uint8_t any = 0, all = 0xff;
  float reached[CropResampleParams::kMaxClasses] = {};
  for (int64_t j = 0; j < rows.count; ++j) {
    for (int64_t i = 0; i < columns.count; ++i) {
      const uint8_t found = class_bits[(rows.first + j) * p.src_width + columns.first + i];
      any |= found;
      all &= found;
      if (found == 0) continue;
      const float weight = RoundedProduct(rows.Weight(j), columns.Weight(i));
      for (int c = 0; c < CropResampleParams::kMaxClasses; ++c) {
        reached[c] += (found >> c & 1) != 0 ? weight : 0.0f;
      }
    }
  }
  if (any == all) return all;  // also where rounding left the weights of all just below their sum
  uint8_t classes = 0;
  for (int c = 0; c < CropResampleParams::kMaxClasses; ++c) {
    if (reached[c] >= 0.5f) classes |= static_cast<uint8_t>(1 << c);
  }
  return classes;
}

// Writes one pixel of the crop.
LSEG_HOST_DEVICE inline void WriteCropPixel(const CropResampleParams& p, const float* gain,
                                            const float* offset, const uint8_t* src,
                                            const uint8_t* class_bits, int64_t y, int64_t x,
                                            float* data, uint8_t* label) {
  const WindowPixel at = WindowPixelOf(p, y, x);
  const CropTaps rows(p.top + at.y, p.src_height, p.scaled_height);
  const CropTaps columns(p.left + at.x, p.src_width, p.scaled_width);
  const CropColour colour = ColourOf(p, rows, columns, src);
  const int64_t plane = p.height * p.width, to = y * p.width + x;
  for (int c = 0; c < 3; ++c) {
    data[(2 - c) * plane + to] = colour.rgb[c] * gain[c] + offset[c];
  }
  const uint8_t classes = ClassesOf(p, rows, columns, class_bits);
  for (int c = 0; c < p.classes; ++c) {
    label[c * plane + to] = (p.left_out >> c & 1) != 0 ? kNotAnnotated : classes >> c & 1;
  }
}

}  // namespace lseg
