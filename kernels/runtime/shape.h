// Logical shapes, memory formats, and the arithmetic between the two.
//
// A shape is always (N, C, H, W); a format says in which order, and with how much padding of the
// channels, the elements lie in memory. Padding channels hold zeros, and ops keep them zero.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/runtime/check.h"

namespace lseg {

struct Shape {
  int64_t n = 1, c = 1, h = 1, w = 1;

  int64_t Count() const { return n * c * h * w; }
  bool operator==(const Shape&) const = default;
};

// "2x64x480x720"
std::string ToString(const Shape& shape);

enum class Format {
  kNCHW,
  kNHWC,
  kNChw8c,   // channels in blocks of 8: (N, ceil(C/8), H, W, 8), the vector of AVX2
  kNChw16c,  // the same with 16, the vector of AVX-512
  kOpaque,   // packed weights: known to the plan that packed them only
};

std::string ToString(Format format);

// Channels that lie next to one another: 8, 16, C for NHWC, 1 for NCHW.
int64_t ChannelBlock(Format format, int64_t channels);

// Elements in memory, channel padding included. kOpaque has none: an Error.
int64_t StorageCount(const Shape& shape, Format format);

// Position of element (n, c, h, w).
inline int64_t Offset(const Shape& s, Format format, int64_t n, int64_t c, int64_t h, int64_t w) {
  switch (format) {
    case Format::kNCHW:
      return ((n * s.c + c) * s.h + h) * s.w + w;
    case Format::kNHWC:
      return ((n * s.h + h) * s.w + w) * s.c + c;
    case Format::kNChw8c:
      return (((n * ((s.c + 7) / 8) + c / 8) * s.h + h) * s.w + w) * 8 + c % 8;
    case Format::kNChw16c:
      return (((n * ((s.c + 15) / 16) + c / 16) * s.h + h) * s.w + w) * 16 + c % 16;
    case Format::kOpaque:
      break;
  }
  LSEG_FAIL("an opaque format has no element offsets");
}

// Half-open range of rows [begin, end).
struct RowRange {
  int64_t begin = 0, end = 0;
  bool operator==(const RowRange&) const = default;
};

}  // namespace lseg
