// Images in memory, and reading and writing them. Every decoder, resampler and encoder that any tool
// uses is declared here, so that preparation, training and inference see the same pixels.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

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
  const uint8_t* Row(int y) const { return pixels.data() + static_cast<size_t>(y) * width * channels; }
};

// Reads a photograph as RGB: JPEG, PNG, BMP (stb), TIFF (libtiff). Gray becomes three equal channels;
// 16-bit samples are rounded to 8; alpha is dropped where it is opaque everywhere and an Error where
// it is not; a JPEG's EXIF orientation is applied. An Error names the file and what is wrong with it
// (missing, empty, truncated, not an image, DICOM, more than max_pixels).
Image ReadPhoto(const std::string& path, int64_t max_pixels = int64_t{200'000'000});

// Reads a class map: palette indices or 8-bit gray values are classes, as they are. Anything else
// (colour, alpha, 16 bit) is an Error.
Image ReadClassMap(const std::string& path);

// Reads one lesion's mask, PNG or TIFF, 1-bit palette, gray 0/1 or 0/255, or colour: 0 or 255 a pixel.
// Palette images: index 0 is background whatever its colour. Colour: a pixel belongs to the lesion
// where any of R, G, B (never alpha) is above 127.
Image ReadMask(const std::string& path);

// Colour of each class 0..4 in every indexed PNG and overlay: background, EX, HE, MA, SE.
extern const std::array<std::array<uint8_t, 3>, 5> kClassPalette;

// Writers create a temporary file beside `path` and rename it, so that a reader never sees half a
// file and a failure (no space, no permission) leaves what was there. Errors name the path and cause.
void WritePng(const std::string& path, const Image& image);             // gray or RGB, libpng
void WriteIndexedPng(const std::string& path, const Image& class_map);  // 8-bit indices, kClassPalette
void WriteJpeg(const std::string& path, const Image& image, int quality);
void WriteFileAtomically(const std::string& path, const void* data, size_t bytes);
std::string ReadFile(const std::string& path);  // whole file; an Error names it and the cause

// Resamples with a filter that does not alias: separable, antialiased (its support grows with the
// reduction), weights normalised; the identity when the sizes are equal.
Image Resize(const Image& image, int width, int height);
// A mask (0 or 255): share of each destination pixel's area that the lesion covers, >= 0.5 is 255.
// Exact on integers.
Image ResizeMask(const Image& mask, int width, int height);
// Nearest neighbour (pixel centres), for class maps that must grow to an image's own size.
Image ResizeNearest(const Image& image, int width, int height);

}  // namespace lseg
