// PNG by libpng: the one reader here that gives palette indices, and that checks sums.
//
// libpng reports errors by longjmp, which must not jump over anything with a destructor: whatever
// calls it stands in functions of plain locals that return false after a jump.
#include <png.h>

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include "lseg/image_decode.h"

namespace lseg {
namespace {

struct Header {
  png_uint_32 width = 0, height = 0;
  int bits = 0, colour_type = 0, channels = 0;
};

class PngReader {
 public:
  explicit PngReader(std::string_view bytes) : bytes_(bytes) {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
    LSEG_CHECK(png_, "cannot be read: no memory for the PNG reader");
    info_ = png_create_info_struct(png_);
    if (!info_) png_destroy_read_struct(&png_, nullptr, nullptr);
    LSEG_CHECK(info_, "cannot be read: no memory for the PNG reader");
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // CheckImageSize says it better
    png_set_read_fn(png_, this, OnRead);
  }
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  bool ReadHeader(Header& header) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_info(png_, info_);
    png_get_IHDR(png_, info_, &header.width, &header.height, &header.bits, &header.colour_type,
                 nullptr, nullptr, nullptr);
    return true;
  }

  // Colours of 8 bits, or samples as they are stored; then header.channels a pixel.
  bool StartRows(bool as_colours, Header& header) {
    if (setjmp(png_jmpbuf(png_))) return false;
    if (as_colours) {
      png_set_expand(png_);  // palettes, fewer than 8 bits, colours that are transparent
      png_set_scale_16(png_);
    } else {
      png_set_packing(png_);
      png_set_strip_alpha(png_);
    }
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    header.channels = png_get_channels(png_, info_);
    return true;
  }

  bool ReadRows(png_bytepp rows) {
    if (setjmp(png_jmpbuf(png_))) return false;
    png_read_image(png_, rows);
    png_read_end(png_, nullptr);
    return true;
  }

  [[noreturn]] void Fail() const { LSEG_FAIL("is truncated or damaged (PNG: " << reason_ << ")"); }

 private:
  static void OnError(png_structp png, png_const_charp message) {
    auto* reader = static_cast<PngReader*>(png_get_error_ptr(png));
    std::snprintf(reader->reason_, sizeof(reader->reason_), "%s", message);
    png_longjmp(png, 1);
  }
  static void OnWarning(png_structp, png_const_charp) {}
  static void OnRead(png_structp png, png_bytep out, size_t size) {
    auto* reader = static_cast<PngReader*>(png_get_io_ptr(png));
    if (size > reader->bytes_.size()) png_error(png, "the file ends too early");
    std::memcpy(out, reader->bytes_.data(), size);
    reader->bytes_.remove_prefix(size);
  }

  std::string_view bytes_;  // not read yet
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  char reason_[120] = "";
};

// Deflate packs 1032 bytes into one at best, and a pixel takes a bit or more.
void CheckBytes(const Header& header, size_t bytes) {
  LSEG_CHECK(static_cast<uint64_t>(header.width) * header.height / (8 * 1032) <= bytes,
             "is truncated: " << bytes << " bytes cannot hold " << header.width << "x"
                              << header.height << " pixels");
}

Image ReadPixels(PngReader& reader, Header& header, bool as_colours) {
  if (!reader.StartRows(as_colours, header)) reader.Fail();
  Image image(static_cast<int>(header.width), static_cast<int>(header.height), header.channels);
  std::vector<png_bytep> rows(header.height);
  for (size_t y = 0; y < rows.size(); ++y) rows[y] = image.Row(static_cast<int>(y));
  if (!reader.ReadRows(rows.data())) reader.Fail();
  return image;
}

}  // namespace

Image DecodePng(std::string_view bytes, int64_t max_pixels) {
  PngReader reader(bytes);
  Header header;
  if (!reader.ReadHeader(header)) reader.Fail();
  CheckImageSize(header.width, header.height, max_pixels);
  CheckBytes(header, bytes.size());
  return ReadPixels(reader, header, true);
}

PhotoHeader PngHeader(std::string_view start, int64_t max_pixels) {
  const auto number = [&](size_t at) {
    LSEG_CHECK(at + 4 <= start.size(), "is truncated");
    int64_t value = 0;
    for (size_t i = at; i < at + 4; ++i) value = value << 8 | static_cast<uint8_t>(start[i]);
    return value;
  };
  PhotoHeader header;
  const int64_t width = number(16), height = number(20);
  CheckImageSize(width, height, max_pixels);
  header.width = static_cast<int>(width);
  header.height = static_cast<int>(height);
  const int colour_type = static_cast<int>(number(24) >> 16 & 255);
  bool alpha = (colour_type & PNG_COLOR_MASK_ALPHA) != 0;
  for (size_t at = 8; at + 8 <= start.size() && start.substr(at + 4, 4) != "IDAT";) {
    alpha = alpha || start.substr(at + 4, 4) == "tRNS";  // a colour, or some, that are transparent
    at += 12 + static_cast<size_t>(number(at));
  }
  const int channels = ((colour_type & PNG_COLOR_MASK_COLOR) ? 3 : 1) + alpha;
  header.decoding = (channels == 3 ? 3 : channels + 3) * width * height;  // then as RGB
  return header;
}

Samples DecodePngSamples(std::string_view bytes, int64_t max_pixels) {
  PngReader reader(bytes);
  Header header;
  if (!reader.ReadHeader(header)) reader.Fail();
  CheckImageSize(header.width, header.height, max_pixels);
  CheckBytes(header, bytes.size());
  LSEG_CHECK(header.bits <= 8, "has " << header.bits << " bits a sample: 8 or fewer are read");
  Samples samples;
  samples.white = header.colour_type == PNG_COLOR_TYPE_GRAY ? (1 << header.bits) - 1 : 255;
  samples.alpha = (header.colour_type & PNG_COLOR_MASK_ALPHA) != 0;
  samples.kind = header.colour_type == PNG_COLOR_TYPE_PALETTE  ? Samples::Kind::kIndex
                 : (header.colour_type & PNG_COLOR_MASK_COLOR) ? Samples::Kind::kColour
                                                               : Samples::Kind::kGray;
  samples.image = ReadPixels(reader, header, false);
  return samples;
}

}  // namespace lseg
