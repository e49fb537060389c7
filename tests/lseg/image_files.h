// Image files made for tests byte by byte or by libtiff, in encodings that the project itself does
// not write.
#pragma once

#include <gtest/gtest.h>
#include <tiffio.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "lseg/image.h"

namespace lseg {

// A folder of the test's own, empty at first.
inline std::string TestFolder() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) /
                                       (std::string(info->test_suite_name()) + "." + info->name());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder.string();
}

enum class MaskEncoding { kPalette1, kGray01, kGray255, kRgbaLzw };

// Writes a mask (0 or 255 a pixel) as IDRiD and its copies do.
inline void WriteMaskTiff(const std::string& path, const Image& mask, MaskEncoding encoding) {
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  ASSERT_NE(tiff, nullptr);
  const bool rgba = encoding == MaskEncoding::kRgbaLzw;
  const bool palette = encoding == MaskEncoding::kPalette1;
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, mask.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, mask.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, palette ? 1 : 8);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, rgba ? 4 : 1);
  TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 7);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, PLANARCONFIG_CONTIG);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, rgba ? COMPRESSION_LZW : COMPRESSION_NONE);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC,
               palette ? PHOTOMETRIC_PALETTE
               : rgba  ? PHOTOMETRIC_RGB
                       : PHOTOMETRIC_MINISBLACK);
  if (palette) {
    // Index 1 is red, as in IDRiD: a reader that converts to gray gets 76.
    uint16_t red[2] = {0, 65535}, none[2] = {0, 0};
    TIFFSetField(tiff, TIFFTAG_COLORMAP, red, none, none);
  }
  if (rgba) {
    uint16_t kind = EXTRASAMPLE_UNASSALPHA;
    TIFFSetField(tiff, TIFFTAG_EXTRASAMPLES, 1, &kind);
  }
  for (int y = 0; y < mask.height; ++y) {
    std::vector<uint8_t> row(rgba ? 4 * mask.width : mask.width);
    for (int x = 0; x < mask.width; ++x) {
      const bool lesion = mask.Row(y)[x] != 0;
      if (palette) {
        if (lesion) row[x / 8] |= 0x80 >> (x % 8);
      } else if (rgba) {
        row[4 * x] = lesion ? 255 : 0;
        row[4 * x + 3] = 255;
      } else {
        row[x] = !lesion ? 0 : encoding == MaskEncoding::kGray01 ? 1 : 255;
      }
    }
    ASSERT_EQ(TIFFWriteScanline(tiff, row.data(), y, 0), 1);
  }
  TIFFClose(tiff);
}

}  // namespace lseg
