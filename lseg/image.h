// Images in memory, and reading and writing them. Every decoder, resampler and encoder that any
// tool uses is declared here, so that preparation, training and inference see the same pixels.
//
// One decoder a format: JPEG by libjpeg-turbo, or by stb where the build lacks it, PNG by libpng
// (palette indices and 16 bits, checksums), TIFF by libtiff, BMP by stb. Any function may be called
// from several threads at once.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {

// 8-bit samples, rows top down, channels interleaved (RGB for 3, gray, class or mask for 1).
struct Image {
  int width = 0, height = 0, channels = 0;
  std::vector<uint8_t> pixels;

  Image() = default;
  Image(int w, int h, int c, uint8_t value = 0)
      : width(w), height(h), channels(c), pixels(static_cast<size_t>(w) * h * c, value) {}
  uint8_t* Row(int y) { return pixels.data() + static_cast<size_t>(y) * width * channels; }
  const uint8_t* Row(int y) const {
    return pixels.data() + static_cast<size_t>(y) * width * channels;
  }
};

// Larger images are refused before memory is taken for them. The programs have --max-pixels in this
// one's place, up to what the decoders can count.
inline constexpr int64_t kMaxPixels = 200'000'000;
inline constexpr int64_t kMostPixels = 500'000'000;

// Reads a photograph as RGB: JPEG, PNG, BMP, TIFF (the first page), told apart by their content.
// Gray becomes three equal channels; 16-bit samples are rounded to 8; alpha is dropped where it is
// opaque everywhere and an Error where it is not; the orientation that EXIF (JPEG) or the tag
// (TIFF) states is applied. An Error names the file and what is wrong with it: missing, empty,
// truncated, damaged, no image, DICOM, camera RAW, CMYK or another format that is not read (of TIFF
// samples that are no unsigned integers, compressed BMP), more than max_pixels. Damage inside a
// JPEG's compressed data shows only if it breaks the code: the format has no sums.
Image ReadPhoto(const std::string& path, int64_t max_pixels = kMaxPixels);

// What is told of a photograph before it is read: its size as turned, and the most bytes that
// ReadPhoto takes for it, the file's and the result's included. Nothing where the file's beginning
// does not tell: ReadPhoto says why.
struct PhotoHeader {
  int width = 0, height = 0;
  int64_t decoding = 0;
};
std::optional<PhotoHeader> ReadPhotoHeader(const std::string& path,
                                           int64_t max_pixels = kMaxPixels);

// What decodes JPEGs in this build: "libjpeg-turbo 2.1.5" or "stb_image". Their samples differ by
// rounding: a few levels where colours change, tests/lseg/jpeg_test.cc has the bounds.
std::string JpegDecoder();

// For a photograph that will be shrunk to width x height: a JPEG may come at 1/2, 1/4 or 1/8 of its
// size, no smaller than that, which saves most of the decoding; it is not quite what Resize makes
// of the whole. Other formats, builds where ReducesJpegs() is false, and kWhole give the whole.
inline constexpr int kWhole = std::numeric_limits<int>::max();
struct ReducedPhoto {
  Image image;
  int width = 0, height = 0;  // of the whole, as turned
};
ReducedPhoto ReadPhotoReduced(const std::string& path, int width, int height,
                              int64_t max_pixels = kMaxPixels);
bool ReducesJpegs();

// Reads a class map, PNG or TIFF: palette indices or gray values of up to 8 bits are classes, as
// they are. Anything else (colour, alpha, 16 bit, JPEG) is an Error.
Image ReadClassMap(const std::string& path, int64_t max_pixels = kMaxPixels);

// Reads one lesion's mask, PNG or TIFF, 1-bit palette, gray 0/1 or 0/255, or colour: 0 or 255 a
// pixel. Palette images: index 0 is background whatever its colour. Gray: if no value is above 1,
// then 1 is the lesion, else what is above half of white is; a largest value between these is an
// Error, as in a class map taken for a mask. Colour: a pixel belongs to the lesion where any of R,
// G, B (never alpha) is above 127.
Image ReadMask(const std::string& path, int64_t max_pixels = kMaxPixels);

// Colour of each class in every indexed PNG and overlay: background, EX, HE, MA, SE, and what other
// nets may tell apart.
extern const std::array<std::array<uint8_t, 3>, 21> kClassPalette;

// Writers go through WriteFile (framework/file.h): a reader never sees half a file, and a failure
// (no space, no permission) leaves what was there. Errors name the path and cause. The same pixels
// give the same bytes.
void WritePng(const std::string& path, const Image& image);  // gray or RGB
std::string EncodePng(const Image& image);                   // the same bytes
void WriteIndexedPng(const std::string& path,
                     const Image& class_map);  // classes of kClassPalette
void WriteJpeg(const std::string& path, const Image& image, int quality);  // gray or RGB, 1..100

// Resamples by Catmull-Rom's cubic, stretched by the reduction where the image shrinks so that it
// does not alias: 0.49 of a wave at the new Nyquist frequency gets through and less than 0.07 from
// 1.5 times that on, where averaging over areas lets 0.3 through and blurs what can be kept more.
// Weights are whole numbers that add up to one: flat areas stay as they are to the last bit, and
// all machines agree. At the edges the filter is cut off and what is left of it normalised. The
// identity when the sizes are equal. 1 to 4 channels.
Image Resize(const Image& image, int width, int height);
// A mask (0 or not): where at least half of a destination pixel's area is lesion it is 255, else 0.
// Exact on integers.
Image ResizeMask(const Image& mask, int width, int height);
// Nearest neighbour (pixel centres), for class maps that must grow to an image's own size.
Image ResizeNearest(const Image& image, int width, int height);

}  // namespace lseg
