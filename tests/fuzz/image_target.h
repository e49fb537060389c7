// What the targets of images share.
#pragma once

#include "lseg/image.h"
#include "tests/fuzz/fuzz.h"

namespace lseg::fuzz {

// Of an image that was read.
inline void RequireImage(const Image& image, int channels) {
  Require(image.width > 0 && image.height > 0 && image.channels == channels, "an image has a size");
  Require(int64_t{image.width} * image.height <= kMaxPixels, "the limit of pixels holds");
  Require(image.pixels.size() == size_t(image.width) * image.height * channels,
          "pixels fill the size");
}

// Reads the file as the truth: class map, mask, and both as the dataset's check does.
void ReadAsTruth(const std::string& path);

}  // namespace lseg::fuzz
