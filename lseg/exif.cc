#include "lseg/exif.h"

#include <cstring>
#include <utility>

namespace lseg {
namespace {

// Numbers of a TIFF structure, either byte order; 0 beyond the end.
class TiffBytes {
 public:
  explicit TiffBytes(std::string_view bytes) : bytes_(bytes) {
    little_ = bytes.substr(0, 2) == "II";
    valid_ = (little_ || bytes.substr(0, 2) == "MM") && Short(2) == 42;
  }
  bool valid() const { return valid_; }
  uint32_t Short(size_t at) const {
    return little_ ? Byte(at) | Byte(at + 1) << 8 : Byte(at) << 8 | Byte(at + 1);
  }
  uint32_t Long(size_t at) const {
    return little_ ? Short(at) | Short(at + 2) << 16 : Short(at) << 16 | Short(at + 2);
  }

 private:
  uint32_t Byte(size_t at) const {
    return at < bytes_.size() ? static_cast<uint8_t>(bytes_[at]) : 0;
  }
  std::string_view bytes_;
  bool little_ = false, valid_ = false;
};

int OrientationOf(std::string_view exif) {
  constexpr uint32_t kOrientationTag = 0x0112, kShort = 3;
  const TiffBytes tiff(exif);
  if (!tiff.valid()) return 1;
  const size_t directory = tiff.Long(4);
  if (directory >= exif.size()) return 1;
  const uint32_t entries = tiff.Short(directory);
  for (uint32_t i = 0; i < entries; ++i) {
    const size_t entry = directory + 2 + 12 * static_cast<size_t>(i);
    if (tiff.Short(entry) == kOrientationTag && tiff.Short(entry + 2) == kShort) {
      const uint32_t value = tiff.Short(entry + 8);
      return value >= 1 && value <= 8 ? static_cast<int>(value) : 1;
    }
  }
  return 1;
}

template <int kChannels>
void Copy(const Image& src, int orientation, Image& dst) {
  const bool transposed = orientation >= 5;
  // In which direction source columns and rows are walked along destination rows and columns.
  const bool flip_x = orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8;
  const bool flip_y = orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7;
  for (int y = 0; y < dst.height; ++y) {
    uint8_t* out = dst.Row(y);
    for (int x = 0; x < dst.width; ++x, out += kChannels) {
      int from_x = transposed ? y : x, from_y = transposed ? x : y;
      if (flip_x) from_x = src.width - 1 - from_x;
      if (flip_y) from_y = src.height - 1 - from_y;
      std::memcpy(out, src.Row(from_y) + static_cast<size_t>(from_x) * kChannels, kChannels);
    }
  }
}

}  // namespace

int ExifOrientation(std::string_view jpeg) {
  constexpr std::string_view kExif("Exif\0\0", 6);
  const auto byte = [&](size_t at) { return static_cast<uint8_t>(jpeg[at]); };
  size_t at = 2;  // behind the start of image
  while (at + 4 <= jpeg.size() && byte(at) == 0xff) {
    const int marker = byte(at + 1);
    if (marker == 0xff) {  // a fill byte
      ++at;
      continue;
    }
    if (marker == 0xda || marker == 0xd9) break;  // the picture itself, the end
    const size_t length = byte(at + 2) << 8 | byte(at + 3);
    if (length < 2 || at + 2 + length > jpeg.size()) break;
    const std::string_view segment = jpeg.substr(at + 4, length - 2);
    if (marker == 0xe1 && segment.substr(0, kExif.size()) == kExif) {
      return OrientationOf(segment.substr(kExif.size()));
    }
    at += 2 + length;
  }
  return 1;
}

Image Orient(Image image, int orientation) {
  if (orientation < 2 || orientation > 8) return image;
  const bool transposed = orientation >= 5;
  Image turned(transposed ? image.height : image.width, transposed ? image.width : image.height,
               image.channels);
  switch (image.channels) {
    case 1:
      Copy<1>(image, orientation, turned);
      break;
    case 2:
      Copy<2>(image, orientation, turned);
      break;
    case 3:
      Copy<3>(image, orientation, turned);
      break;
    case 4:
      Copy<4>(image, orientation, turned);
      break;
    default:
      LSEG_FAIL("orientation of an image of " << image.channels << " channels: 1 to 4 are known");
  }
  return turned;
}

}  // namespace lseg
