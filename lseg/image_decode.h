// Decoders behind ReadPhoto, ReadClassMap and ReadMask, one a format. They see a whole file in
// memory and throw Error without naming the file: the caller does.
#pragma once

#include <string_view>

#include "lseg/image.h"

namespace lseg {

enum class ImageFormat { kJpeg, kPng, kTiff, kBmp };

// By content. Throws where it is none of these, naming what it is instead if that is known; `path`
// serves for its extension only (some cameras' RAW files are TIFF inside).
ImageFormat SniffImageFormat(const std::string& path, std::string_view bytes);

// Throws where width x height is nothing or more than max_pixels.
void CheckImageSize(int64_t width, int64_t height, int64_t max_pixels);

// Pixels as colours: 1 (gray), 2 (gray and alpha), 3 or 4 (RGBA) channels of 8 bits, palettes
// looked up, 16 bits rounded, turned as the file says.
Image DecodeJpeg(std::string_view bytes, int64_t max_pixels);
Image DecodeBmp(std::string_view bytes, int64_t max_pixels);
Image DecodePng(std::string_view bytes, int64_t max_pixels);
Image DecodeTiff(std::string_view bytes, int64_t max_pixels);

// Pixels as numbers, for class maps and masks.
struct Samples {
  enum class Kind { kIndex, kGray, kColour };
  Kind kind = Kind::kGray;
  // Palette indices and gray values as stored, white being `white`; colours as RGB of 8 bits.
  Image image;
  int white = 255;     // 1, 3, 15 or 255
  bool alpha = false;  // there was an alpha channel; it is left out
};
// Throw at 16 bits a sample.
Samples DecodePngSamples(std::string_view bytes, int64_t max_pixels);
Samples DecodeTiffSamples(std::string_view bytes, int64_t max_pixels);

}  // namespace lseg
