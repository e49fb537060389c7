#include "kernels/runtime/shape.h"

#include "kernels/runtime/integers.h"

namespace lseg {

std::string ToString(const Shape& s) {
  std::ostringstream out;
  out << s.n << 'x' << s.c << 'x' << s.h << 'x' << s.w;
  return out.str();
}

std::string ToString(Format format) {
  switch (format) {
    case Format::kNCHW:
      return "NCHW";
    case Format::kNHWC:
      return "NHWC";
    case Format::kNChw8c:
      return "nChw8c";
    case Format::kNChw16c:
      return "nChw16c";
    case Format::kOpaque:
      return "opaque";
  }
  LSEG_FAIL("unknown format " << static_cast<int>(format));
}

int64_t ChannelBlock(Format format, int64_t channels) {
  switch (format) {
    case Format::kNCHW:
      return 1;
    case Format::kNHWC:
      return channels;
    case Format::kNChw8c:
      return 8;
    case Format::kNChw16c:
      return 16;
    case Format::kOpaque:
      break;
  }
  LSEG_FAIL("an opaque format has no channel block");
}

int64_t StorageCount(const Shape& shape, Format format) {
  if (shape.Count() == 0) return 0;
  const int64_t block = ChannelBlock(format, shape.c);
  return shape.n * RoundUp(shape.c, block) * shape.h * shape.w;
}

}  // namespace lseg
