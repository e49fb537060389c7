// Decoders behind ReadPhoto, ReadClassMap and ReadMask, one a format. They see a whole file in
// memory and throw Error without naming the file: the caller does.
#pragma once

#include <string>
#include <string_view>

#include "lseg/image.h"

namespace lseg {

enum class ImageFormat { kJpeg, kPng, kTiff, kBmp };

// By content. Throws where it is none of these, naming what it is instead if that is known; `path`
// serves for its extension only (some cameras' RAW files are TIFF inside).
ImageFormat SniffImageFormat(const std::string& path, std::string_view bytes);

// What a file is by its extension, where that is of images that are not read, and what to do: "a
// DICOM file, which is not read: export it as PNG or TIFF". Empty: nothing is known.
std::string UnreadByName(const std::string& path);

// Throws where width x height is nothing, more than max_pixels, or a side longer than a million.
void CheckImageSize(int64_t width, int64_t height, int64_t max_pixels);

// Pixels as colours: 1 (gray), 2 (gray and alpha), 3 or 4 (RGBA) channels of 8 bits, palettes
// looked up, 16 bits rounded, turned as the file says.
Image DecodeBmp(std::string_view bytes, int64_t max_pixels);
Image DecodePng(std::string_view bytes, int64_t max_pixels);
Image DecodeTiff(std::string_view bytes, int64_t max_pixels);

// JPEG by JpegDecoder(): at its own size, or at 1/2, 1/4 or 1/8 of it (sides rounded up), the
// smallest that is at least min_width x min_height as turned; at its own where !ReducesJpegs().
ReducedPhoto DecodeJpeg(std::string_view bytes, int64_t max_pixels, int min_width = kWhole,
                        int min_height = kWhole);

// What ReadPhotoHeader tells, but for the file's own bytes; of the file's beginning, or, of a TIFF,
// of an open file of so many bytes. Throw where it does not tell.
PhotoHeader BmpHeader(std::string_view start, int64_t max_pixels);
PhotoHeader JpegHeader(std::string_view start, int64_t max_pixels);
PhotoHeader PngHeader(std::string_view start, int64_t max_pixels);
PhotoHeader TiffHeader(int file, int64_t size, int64_t max_pixels);

// What DecodeJpeg is made of. The frame header: sides as stored, 1 or 3 components.
struct JpegFrame {
  int width = 0, height = 0, components = 0;
  // Bytes a pixel that its coefficients take where a decoder keeps those of all: in progressive
  // ones.
  double coefficients = 0;
};
// Throws where there is none, or it says what is not read: too many pixels for the limit or for the
// file's bytes, CMYK.
JpegFrame ReadJpegFrame(std::string_view bytes, int64_t max_pixels);
// Throws where a decoder took another header for the file's.
void CheckSameFrame(const JpegFrame& frame, int64_t width, int64_t height, int components);
// The largest of 1, 2, 4, 8 by which sides of width x height, divided and rounded up, are no less
// than the others.
int JpegReduction(int width, int height, int min_width, int min_height);
// One channel or RGB, as stored. By libjpeg-turbo (an Error where the build lacks it), at
// 1/reduction, and by stb.
Image DecodeJpegByTurbo(std::string_view bytes, const JpegFrame& frame, int reduction);
Image DecodeJpegByStb(std::string_view bytes, const JpegFrame& frame);
const char* JpegTurboName();  // with its version; only where the build has it

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

// A mask file's samples before ReadMask's rules. Errors are those of ReadMask and name the file.
Samples ReadMaskSamples(const std::string& path, int64_t max_pixels = kMaxPixels);

}  // namespace lseg
