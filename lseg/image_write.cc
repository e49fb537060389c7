// Encoders: PNG by libpng (stb writes no palettes), JPEG by stb. All encode into memory first, so
// that only whole files reach the disk.
#include <png.h>
#include <stb/stb_image_write.h>
#include <zlib.h>

#include <algorithm>
#include <csetjmp>
#include <new>
#include <string_view>
#include <utility>

#include "lseg/image.h"

namespace lseg {
namespace {

class PngWriter {
 public:
  PngWriter() {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, this, OnError, OnWarning);
    if (!png_) throw std::bad_alloc();
    info_ = png_create_info_struct(png_);
    if (!info_) png_destroy_write_struct(&png_, nullptr);
    if (!info_) throw std::bad_alloc();
    png_set_write_fn(png_, this, OnWrite, OnFlush);
  }
  ~PngWriter() { png_destroy_write_struct(&png_, &info_); }
  PngWriter(const PngWriter&) = delete;
  PngWriter& operator=(const PngWriter&) = delete;

  // False where memory ran out or libpng refused. As in the reader: only plain locals, for longjmp.
  bool Write(const Image& image, int colour_type, png_const_colorp palette, int colours,
             png_bytepp rows) {
    if (!Reserve(image)) return false;
    if (setjmp(png_jmpbuf(png_))) return false;
    png_set_IHDR(png_, info_, image.width, image.height, 8, colour_type, PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (palette) {
      png_set_PLTE(png_, info_, palette, colours);
    } else {
      // Photographs, masks and gray maps: one fixed filter leaves runs and hardly any other
      // repetition. Looking for runs only takes half of level 4's time and gives a tenth fewer
      // bytes.
      png_set_filter(png_, PNG_FILTER_TYPE_BASE, PNG_FILTER_PAETH);
      png_set_compression_strategy(png_, Z_RLE);
    }
    png_write_info(png_, info_);
    png_write_image(png_, rows);
    png_write_end(png_, nullptr);
    return true;
  }

  std::string TakeBytes() { return std::move(bytes_); }

 private:
  // A PNG is hardly larger than its picture. Memory that is not written to is not taken, where a
  // string that grows takes twice what it holds.
  bool Reserve(const Image& image) {
    try {
      bytes_.reserve(image.pixels.size() + image.pixels.size() / 64 + 4096);
    } catch (const std::bad_alloc&) {
      return false;
    }
    return true;
  }
  static void OnError(png_structp png, png_const_charp) { png_longjmp(png, 1); }
  static void OnWarning(png_structp, png_const_charp) {}
  static void OnWrite(png_structp png, png_bytep data, size_t size) {
    bool full = false;
    try {
      static_cast<PngWriter*>(png_get_io_ptr(png))
          ->bytes_.append(reinterpret_cast<const char*>(data), size);
    } catch (const std::bad_alloc&) {
      full = true;  // the jump must not leave the handler open
    }
    if (full) png_error(png, "out of memory");
  }
  static void OnFlush(png_structp) {}

  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  std::string bytes_;
};

void CheckWritable(const std::string& path, const Image& image) {
  LSEG_CHECK(
      image.width > 0 && image.height > 0 &&
          image.pixels.size() == static_cast<size_t>(image.width) * image.height * image.channels,
      path << ": cannot be written: an image of " << image.width << "x" << image.height << " with "
           << image.channels << " channels and " << image.pixels.size() << " samples");
}

std::string Encode(const std::string& path, const Image& image, int colour_type,
                   png_const_colorp palette, int colours) {
  std::vector<png_bytep> rows(image.height);
  for (int y = 0; y < image.height; ++y) rows[y] = const_cast<png_bytep>(image.Row(y));
  PngWriter writer;
  LSEG_CHECK(writer.Write(image, colour_type, palette, colours, rows.data()),
             path << ": cannot be encoded as PNG");
  return writer.TakeBytes();
}

std::string EncodePlainPng(const std::string& path, const Image& image) {
  CheckWritable(path, image);
  LSEG_CHECK(image.channels == 1 || image.channels == 3,
             path << ": cannot be written: PNG takes 1 or 3 channels, not " << image.channels);
  const int type = image.channels == 1 ? PNG_COLOR_TYPE_GRAY : PNG_COLOR_TYPE_RGB;
  return Encode(path, image, type, nullptr, 0);
}

}  // namespace

// Far from one another. The first four are that for colour-blind eyes as well, and far from a
// retina's orange: yellow, blue, white, pink. Simulated (Machado et al. 2009), two of them are 21
// apart in CIELAB at the least; with green for white, yellow and green were 5 apart to a protanope.
const std::array<std::array<uint8_t, 3>, 21> kClassPalette = {
    {{0, 0, 0},       {255, 212, 0},  {45, 125, 255},  {244, 255, 255}, {255, 106, 224},
     {255, 128, 0},   {0, 240, 240},  {230, 30, 60},   {190, 160, 255}, {200, 250, 60},
     {255, 180, 200}, {0, 140, 130},  {160, 100, 40},  {255, 250, 200}, {140, 0, 0},
     {170, 255, 200}, {130, 130, 0},  {255, 215, 170}, {100, 80, 220},  {150, 150, 150},
     {60, 255, 60}}};

void WritePng(const std::string& path, const Image& image) {
  WriteFile(path, EncodePlainPng(path, image));
}

std::string EncodePng(const Image& image) { return EncodePlainPng("PNG", image); }

void WriteIndexedPng(const std::string& path, const Image& class_map) {
  CheckWritable(path, class_map);
  LSEG_CHECK(class_map.channels == 1, path << ": cannot be written: a class map has one channel, "
                                           << "not " << class_map.channels);
  const int largest = *std::max_element(class_map.pixels.begin(), class_map.pixels.end());
  constexpr int kLesions = 5;  // L-Seg's classes are in the palette of every map
  const int colours = std::max(largest + 1, kLesions);
  LSEG_CHECK(largest < static_cast<int>(kClassPalette.size()),
             path << ": cannot be written: class " << largest << " has no colour; classes are 0 to "
                  << kClassPalette.size() - 1);
  std::array<png_color, kClassPalette.size()> palette;
  for (int i = 0; i < colours; ++i) {
    palette[i] = {kClassPalette[i][0], kClassPalette[i][1], kClassPalette[i][2]};
  }
  WriteFile(path, Encode(path, class_map, PNG_COLOR_TYPE_PALETTE, palette.data(), colours));
}

void WriteJpeg(const std::string& path, const Image& image, int quality) {
  CheckWritable(path, image);
  LSEG_CHECK(image.channels == 1 || image.channels == 3,
             path << ": cannot be written: JPEG takes 1 or 3 channels, not " << image.channels);
  LSEG_CHECK(quality >= 1 && quality <= 100,
             path << ": cannot be written: JPEG quality " << quality << " is outside 1 to 100");
  LSEG_CHECK(image.width <= 65535 && image.height <= 65535,
             path << ": cannot be written: JPEG takes at most 65535x65535 pixels, not "
                  << image.width << "x" << image.height);
  std::string bytes;
  const auto append = [](void* context, void* data, int size) {
    static_cast<std::string*>(context)->append(static_cast<const char*>(data), size);
  };
  LSEG_CHECK(stbi_write_jpg_to_func(append, &bytes, image.width, image.height, image.channels,
                                    image.pixels.data(), quality),
             path << ": cannot be encoded as JPEG");
  WriteFile(path, bytes);
}

}  // namespace lseg
