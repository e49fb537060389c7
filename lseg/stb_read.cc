// JPEG and BMP by stb: JPEG where the build has no libjpeg-turbo, and for tests of the one against
// the other.
#include <stb/stb_image.h>

#include <algorithm>
#include <cstdlib>
#include <memory>

#include "lseg/image_decode.h"

namespace lseg {
namespace {

Image Load(std::string_view bytes, const char* format) {
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> decoded(
      stbi_load_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()),
                            static_cast<int>(bytes.size()), &width, &height, &channels, 0),
      stbi_image_free);
  LSEG_CHECK(decoded,
             "is truncated or damaged (" << format << ": " << stbi_failure_reason() << ")");
  Image image;
  image.width = width;
  image.height = height;
  image.channels = channels;
  image.pixels.assign(decoded.get(),
                      decoded.get() + static_cast<size_t>(width) * height * channels);
  return image;
}

// Of a header that stb accepts.
struct Info {
  int width = 0, height = 0, channels = 0;
};
Info InfoOf(std::string_view bytes, const char* format) {
  Info info;
  LSEG_CHECK(stbi_info_from_memory(reinterpret_cast<const stbi_uc*>(bytes.data()),
                                   static_cast<int>(bytes.size()), &info.width, &info.height,
                                   &info.channels),
             "is truncated or damaged: no " << format << " header is found ("
                                            << stbi_failure_reason() << ")");
  return info;
}

// stb of 2022 writes behind a Huffman table that announces more than 256 codes. A table may
// stand before any scan, so all segments are walked as stb does it: what a scan holds is passed
// over up to the next marker.
void CheckHuffmanTables(std::string_view bytes) {
  constexpr int kMaxCodes = 256, kLengths = 16;
  const auto byte = [&](size_t at) {
    return at < bytes.size() ? int{static_cast<uint8_t>(bytes[at])} : 0;
  };
  size_t at = 2;  // behind the start of image
  while ((at = bytes.find('\xff', at)) != std::string_view::npos) {
    while (byte(at) == 0xff) ++at;
    const int marker = byte(at++);
    if (marker == 0xd9) return;
    if (marker <= 0x01 || (marker >= 0xd0 && marker <= 0xd8)) continue;  // alone
    const size_t end = at + std::max(byte(at) << 8 | byte(at + 1), 2);
    for (size_t table = at + 2; marker == 0xc4 && table < end;) {
      int codes = 0;  // of each length
      for (int i = 0; i < kLengths; ++i) codes += byte(table + 1 + i);
      LSEG_CHECK(codes <= kMaxCodes, "is damaged (JPEG: a Huffman table of " << codes << " codes)");
      table += 1 + kLengths + codes;
    }
    at = end;
  }
}

struct BmpFields {
  int64_t width = 0, height = 0, bits = 0, pixels_at = 0, compression = 0;
};

// stb reads zeros beyond the end, so what is missing must be found by these.
BmpFields ReadBmpFields(std::string_view bytes, int64_t max_pixels) {
  const auto number = [&](size_t at, int size) {
    uint32_t value = 0;
    for (int i = 0; i < size; ++i) {
      if (at + i < bytes.size()) value |= uint32_t{static_cast<uint8_t>(bytes[at + i])} << 8 * i;
    }
    return static_cast<int32_t>(value);
  };
  const bool old_header = number(14, 4) == 12;
  BmpFields fields;
  fields.width = old_header ? number(18, 2) : number(18, 4);
  fields.height = std::abs(int64_t{old_header ? number(20, 2) : number(22, 4)});
  fields.bits = old_header ? number(24, 2) : number(28, 2);
  fields.pixels_at = number(10, 4);
  fields.compression = old_header ? 0 : number(30, 4);
  CheckImageSize(fields.width, fields.height, max_pixels);
  return fields;
}

}  // namespace

Image DecodeJpegByStb(std::string_view bytes, const JpegFrame& frame) {
  CheckHuffmanTables(bytes);
  const Info info = InfoOf(bytes, "JPEG");
  CheckSameFrame(frame, info.width, info.height, info.channels);
  return Load(bytes, "JPEG");
}

PhotoHeader BmpHeader(std::string_view start, int64_t max_pixels) {
  const BmpFields fields = ReadBmpFields(start, max_pixels);
  // stb's, and a copy of that, which becomes RGB.
  const int64_t channels = fields.bits == 16 || fields.bits == 32 ? 4 : 3;
  return {static_cast<int>(fields.width), static_cast<int>(fields.height),
          2 * channels * fields.width * fields.height};
}

Image DecodeBmp(std::string_view bytes, int64_t max_pixels) {
  const BmpFields fields = ReadBmpFields(bytes, max_pixels);
  constexpr int kPlain = 0, kBitFields = 3;
  LSEG_CHECK(fields.compression == kPlain || fields.compression == kBitFields,
             "is a compressed BMP, which is not read: save it uncompressed, or as PNG");
  const int64_t wanted =
      fields.pixels_at + (fields.width * fields.bits + 31) / 32 * 4 * fields.height;
  LSEG_CHECK(static_cast<int64_t>(bytes.size()) >= wanted,
             "is truncated: it has " << bytes.size() << " of " << wanted << " bytes");
  const Info info = InfoOf(bytes, "BMP");
  CheckImageSize(info.width, info.height, max_pixels);
  return Load(bytes, "BMP");
}

}  // namespace lseg
