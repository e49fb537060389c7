// Encodings that users' files come in: 16 bits, alpha, palettes, tiles, inverted gray, turned
// TIFFs. The files are written here by libpng and libtiff; the project itself writes none of them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <png.h>

#include <cstring>

#include "kernels/runtime/random.h"
#include "lseg/image.h"
#include "tests/lseg/image_files.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

// Writes packed rows as they are. colour_type and bits as PNG has them.
void WriteRawPng(const std::string& path, int width, int height, int colour_type, int bits,
                 std::vector<uint8_t> rows, int interlace = PNG_INTERLACE_NONE) {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  ASSERT_NE(file, nullptr);
  png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, nullptr, nullptr, nullptr);
  png_infop info = png_create_info_struct(png);
  png_init_io(png, file);
  png_set_IHDR(png, info, width, height, bits, colour_type, interlace, PNG_COMPRESSION_TYPE_DEFAULT,
               PNG_FILTER_TYPE_DEFAULT);
  if (colour_type == PNG_COLOR_TYPE_PALETTE) {
    // Index 0 is white: only indices count where classes and masks are read.
    const png_color palette[4] = {{255, 255, 255}, {0, 0, 0}, {200, 10, 10}, {10, 200, 10}};
    png_set_PLTE(png, info, palette, bits == 1 ? 2 : 4);
  }
  png_write_info(png, info);
  std::vector<png_bytep> pointers;
  for (int y = 0; y < height; ++y) pointers.push_back(rows.data() + rows.size() / height * y);
  png_write_image(png, pointers.data());
  png_write_end(png, info);
  png_destroy_write_struct(&png, &info);
  std::fclose(file);
}

// 256x256 gray samples, every 16-bit value once, most significant byte first.
std::vector<uint8_t> AllSixteenBitValues() {
  std::vector<uint8_t> rows;
  for (int value = 0; value < 65536; ++value) {
    rows.push_back(static_cast<uint8_t>(value >> 8));
    rows.push_back(static_cast<uint8_t>(value));
  }
  return rows;
}

void ExpectRoundedToEightBits(const Image& photo) {
  ASSERT_EQ(photo.pixels.size(), 3u * 65536);
  for (int value = 0; value < 65536; ++value) {
    // 65535 = 255 * 257, so nothing lies half-way and rounding has one answer.
    const int expected = static_cast<int>(value / 257.0 + 0.5);
    ASSERT_EQ(photo.pixels[3 * value], expected) << value;
    ASSERT_EQ(photo.pixels[3 * value + 2], expected) << value;
  }
}

TEST(ReadPhoto, RoundsSixteenBitPng) {
  const std::string path = TestFolder() + "/a.png";
  WriteRawPng(path, 256, 256, PNG_COLOR_TYPE_GRAY, 16, AllSixteenBitValues());
  ExpectRoundedToEightBits(ReadPhoto(path));
  EXPECT_THAT([&] { ReadClassMap(path); }, ThrowsMessage<Error>(HasSubstr("16 bits")));
  EXPECT_THAT([&] { ReadMask(path); }, ThrowsMessage<Error>(HasSubstr("16 bits")));
}

TEST(ReadPhoto, DropsAlphaOnlyWhereItIsOpaque) {
  const std::string path = TestFolder() + "/a.png";
  std::vector<uint8_t> rows = {10, 20, 30, 255, 40, 50, 60, 255};
  WriteRawPng(path, 2, 1, PNG_COLOR_TYPE_RGB_ALPHA, 8, rows);
  EXPECT_EQ(ReadPhoto(path).pixels, (std::vector<uint8_t>{10, 20, 30, 40, 50, 60}));
  rows[7] = 254;
  WriteRawPng(path, 2, 1, PNG_COLOR_TYPE_RGB_ALPHA, 8, rows);
  EXPECT_THAT([&] { ReadPhoto(path); }, ThrowsMessage<Error>(HasSubstr("transparent")));
  WriteRawPng(path, 2, 1, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {7, 255, 9, 255});
  EXPECT_EQ(ReadPhoto(path).pixels, (std::vector<uint8_t>{7, 7, 7, 9, 9, 9}));
}

TEST(ReadPhoto, ReadsInterlacedAndPackedPng) {
  const std::string path = TestFolder() + "/a.png";
  Image photo(13, 9, 3);
  Random random(8, 0);
  for (uint8_t& value : photo.pixels) value = static_cast<uint8_t>(random.Below(256));
  WriteRawPng(path, 13, 9, PNG_COLOR_TYPE_RGB, 8, photo.pixels, PNG_INTERLACE_ADAM7);
  EXPECT_EQ(ReadPhoto(path).pixels, photo.pixels);
  WriteRawPng(path, 4, 1, PNG_COLOR_TYPE_GRAY, 2, {0b00011011});
  EXPECT_EQ(ReadPhoto(path).pixels,
            (std::vector<uint8_t>{0, 0, 0, 85, 85, 85, 170, 170, 170, 255, 255, 255}));
}

TEST(ReadClassMap, PackedIndicesAndGrayValuesAreClasses) {
  const std::string path = TestFolder() + "/a.png";
  const std::vector<uint8_t> classes = {0, 1, 2, 3};
  for (const int type : {PNG_COLOR_TYPE_PALETTE, PNG_COLOR_TYPE_GRAY}) {
    WriteRawPng(path, 4, 1, type, 2, {0b00011011});
    EXPECT_EQ(ReadClassMap(path).pixels, classes) << type;
  }
  WriteRawPng(path, 2, 1, PNG_COLOR_TYPE_GRAY_ALPHA, 8, {1, 255, 2, 255});
  EXPECT_THAT([&] { ReadClassMap(path); }, ThrowsMessage<Error>(HasSubstr("alpha")));
  WriteJpeg(TestFolder() + "/a.jpg", Image(8, 8, 1), 90);
  EXPECT_THAT([&] { ReadClassMap(TestFolder() + "/a.jpg"); }, testing::Throws<Error>());
}

TEST(ReadMask, IndexZeroIsBackgroundAndGrayIsTakenByItsScale) {
  const std::string path = TestFolder() + "/a.png";
  WriteRawPng(path, 4, 1, PNG_COLOR_TYPE_PALETTE, 1, {0b01010000});
  EXPECT_EQ(ReadMask(path).pixels, (std::vector<uint8_t>{0, 255, 0, 255}));
  const auto gray = [&](std::vector<uint8_t> row) {
    WriteRawPng(path, static_cast<int>(row.size()), 1, PNG_COLOR_TYPE_GRAY, 8, row);
    return ReadMask(path).pixels;
  };
  EXPECT_EQ(gray({0, 1, 1, 0}), (std::vector<uint8_t>{0, 255, 255, 0}));
  EXPECT_EQ(gray({0, 255, 127, 128}), (std::vector<uint8_t>{0, 255, 0, 255}));
  EXPECT_EQ(gray({0, 0, 0}), (std::vector<uint8_t>{0, 0, 0}));
  // A class map is no mask, though none of its values is above half of white.
  EXPECT_THAT([&] { gray({0, 3, 1}); }, ThrowsMessage<Error>(HasSubstr("largest gray value is 3")));
}

struct RawTiff {
  int width, height, bits, samples, photometric;
  int tile = 0, orientation = 1, planar = PLANARCONFIG_CONTIG, format = SAMPLEFORMAT_UINT;
};

// `pixels` are samples of 8 or 16 bits in host order, rows top down.
void WriteRawTiff(const std::string& path, const RawTiff& raw, std::vector<uint8_t> pixels) {
  TIFF* tiff = TIFFOpen(path.c_str(), "w");
  ASSERT_NE(tiff, nullptr);
  TIFFSetField(tiff, TIFFTAG_IMAGEWIDTH, raw.width);
  TIFFSetField(tiff, TIFFTAG_IMAGELENGTH, raw.height);
  TIFFSetField(tiff, TIFFTAG_BITSPERSAMPLE, raw.bits);
  TIFFSetField(tiff, TIFFTAG_SAMPLESPERPIXEL, raw.samples);
  TIFFSetField(tiff, TIFFTAG_PHOTOMETRIC, raw.photometric);
  TIFFSetField(tiff, TIFFTAG_PLANARCONFIG, raw.planar);
  TIFFSetField(tiff, TIFFTAG_SAMPLEFORMAT, raw.format);
  TIFFSetField(tiff, TIFFTAG_ORIENTATION, raw.orientation);
  TIFFSetField(tiff, TIFFTAG_COMPRESSION, COMPRESSION_ADOBE_DEFLATE);
  const size_t row = pixels.size() / raw.height;
  if (raw.tile == 0) {
    TIFFSetField(tiff, TIFFTAG_ROWSPERSTRIP, 5);
    for (int y = 0; y < raw.height; ++y) TIFFWriteScanline(tiff, &pixels[row * y], y, 0);
  } else {
    TIFFSetField(tiff, TIFFTAG_TILEWIDTH, raw.tile);
    TIFFSetField(tiff, TIFFTAG_TILELENGTH, raw.tile);
    for (int top = 0; top < raw.height; top += raw.tile) {
      for (int left = 0; left < raw.width; left += raw.tile) {
        std::vector<uint8_t> tile(static_cast<size_t>(raw.tile) * raw.tile);
        for (int y = 0; y < std::min(raw.tile, raw.height - top); ++y) {
          std::memcpy(&tile[static_cast<size_t>(y) * raw.tile], &pixels[row * (top + y) + left],
                      std::min(raw.tile, raw.width - left));
        }
        TIFFWriteTile(tiff, tile.data(), left, top, 0, 0);
      }
    }
  }
  TIFFClose(tiff);
}

TEST(ReadPhoto, RoundsSixteenBitTiff) {
  const std::string path = TestFolder() + "/a.tif";
  std::vector<uint8_t> pixels;
  for (int value = 0; value < 65536; ++value) {
    const uint16_t sample = static_cast<uint16_t>(value);
    const auto* bytes = reinterpret_cast<const uint8_t*>(&sample);
    pixels.insert(pixels.end(), bytes, bytes + 2);
  }
  WriteRawTiff(path, {256, 256, 16, 1, PHOTOMETRIC_MINISBLACK}, pixels);
  ExpectRoundedToEightBits(ReadPhoto(path));
  std::vector<uint8_t> rgb;
  for (size_t i = 0; i < pixels.size(); i += 2) {
    for (int c = 0; c < 3; ++c) rgb.insert(rgb.end(), &pixels[i], &pixels[i] + 2);
  }
  WriteRawTiff(path, {256, 256, 16, 3, PHOTOMETRIC_RGB}, rgb);
  ExpectRoundedToEightBits(ReadPhoto(path));
}

TEST(ReadMask, ReadsTilesAndInvertedGray) {
  const std::string path = TestFolder() + "/a.tif";
  Image mask(53, 37, 1);
  Random random(3, 0);
  for (uint8_t& value : mask.pixels) value = random.Below(2) ? 255 : 0;
  WriteRawTiff(path, {53, 37, 8, 1, PHOTOMETRIC_MINISBLACK, 16}, mask.pixels);
  EXPECT_EQ(ReadMask(path).pixels, mask.pixels);
  std::vector<uint8_t> inverted = mask.pixels;
  for (uint8_t& value : inverted) value = 255 - value;
  WriteRawTiff(path, {53, 37, 8, 1, PHOTOMETRIC_MINISWHITE}, inverted);
  EXPECT_EQ(ReadMask(path).pixels, mask.pixels);
}

// A photograph and its mask say alike how they are to be turned, or lesions lie elsewhere.
TEST(ReadPhoto, TurnsTiffsAndTheirMasksAlike) {
  const std::string folder = TestFolder();
  const int width = 7, height = 5;
  std::vector<uint8_t> gray(width * height, 0);
  gray[width - 1] = 255;  // stored at the upper right
  // Where that pixel is to be seen, as TIFF 6.0 defines orientations 1 to 8.
  const std::pair<int, int> seen[8] = {{6, 0}, {0, 0}, {0, 4}, {6, 4},
                                       {0, 6}, {4, 6}, {4, 0}, {0, 0}};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    const std::string path = folder + "/a.tif";
    WriteRawTiff(path, {width, height, 8, 1, PHOTOMETRIC_MINISBLACK, 0, orientation}, gray);
    const Image photo = ReadPhoto(path), mask = ReadMask(path);
    EXPECT_EQ(photo.width, orientation < 5 ? width : height) << orientation;
    ASSERT_EQ(mask.width, photo.width) << orientation;
    EXPECT_EQ(ReadPhotoHeader(path).value().width, photo.width) << orientation;
    const auto [x, y] = seen[orientation - 1];
    EXPECT_EQ(photo.Row(y)[3 * x], 255) << orientation;
    EXPECT_EQ(mask.Row(y)[x], 255) << orientation;
  }
}

TEST(ReadPhoto, RefusesSamplesThatAreNoPicture) {
  const std::string path = TestFolder() + "/a.tif";
  WriteRawTiff(path, {3, 2, 32, 1, PHOTOMETRIC_MINISBLACK}, std::vector<uint8_t>(24));
  EXPECT_THAT([&] { ReadPhoto(path); }, ThrowsMessage<Error>(HasSubstr("a.tif")));
  EXPECT_THAT([&] { ReadMask(path); }, ThrowsMessage<Error>(HasSubstr("32 bits")));
}

// What would be read as if it were something else.
TEST(ReadPhoto, RefusesTiffsOfOtherNumbersAndInks) {
  const std::string path = TestFolder() + "/a.tif";
  const auto refused = [&](RawTiff raw, int format, const std::string& reason) {
    raw.format = format;
    WriteRawTiff(path, raw, std::vector<uint8_t>(3 * 2 * raw.samples * raw.bits / 8));
    EXPECT_THAT([&] { ReadPhoto(path); }, ThrowsMessage<Error>(HasSubstr(reason)));
  };
  const RawTiff gray16 = {3, 2, 16, 1, PHOTOMETRIC_MINISBLACK};
  refused(gray16, SAMPLEFORMAT_INT, "is a TIFF of signed samples");
  refused(gray16, SAMPLEFORMAT_IEEEFP, "is a TIFF of floating-point samples");
  refused({3, 2, 8, 3, PHOTOMETRIC_RGB}, SAMPLEFORMAT_INT, "is a TIFF of signed samples");
  refused({3, 2, 8, 4, PHOTOMETRIC_SEPARATED}, SAMPLEFORMAT_UINT, "is a CMYK TIFF");
}

}  // namespace
}  // namespace lseg
