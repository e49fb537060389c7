// Reading and writing images: what the datasets' encodings come to, and what is refused.
#include "lseg/image.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "framework/file.h"
#include "kernels/runtime/random.h"
#include "tests/lseg/image_files.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

Image RandomMask(int width, int height, uint64_t seed) {
  Image mask(width, height, 1);
  Random random(seed, 0);
  for (uint8_t& value : mask.pixels) value = random.Below(3) == 0 ? 255 : 0;
  return mask;
}

Image RandomPhoto(int width, int height, uint64_t seed) {
  Image photo(width, height, 3);
  Random random(seed, 0);
  for (uint8_t& value : photo.pixels) value = static_cast<uint8_t>(random.Below(256));
  return photo;
}

TEST(ReadMask, GivesTheSameBytesForEveryEncodingOfALesion) {
  const std::string folder = TestFolder();
  const Image mask = RandomMask(37, 23, 1);
  for (const MaskEncoding encoding : {MaskEncoding::kPalette1, MaskEncoding::kGray01,
                                      MaskEncoding::kGray255, MaskEncoding::kRgbaLzw}) {
    const std::string path = folder + "/mask.tif";
    WriteMaskTiff(path, mask, encoding);
    const Image read = ReadMask(path);
    EXPECT_EQ(read.width, 37);
    EXPECT_EQ(read.height, 23);
    EXPECT_EQ(read.pixels, mask.pixels) << static_cast<int>(encoding);
  }
  WritePng(folder + "/mask.png", mask);
  EXPECT_EQ(ReadMask(folder + "/mask.png").pixels, mask.pixels);
}

TEST(ReadMask, OpaqueAlphaAloneIsNoLesion) {
  const std::string path = TestFolder() + "/empty.tif";
  WriteMaskTiff(path, Image(9, 5, 1), MaskEncoding::kRgbaLzw);
  EXPECT_EQ(ReadMask(path).pixels, std::vector<uint8_t>(45, 0));
}

TEST(ReadClassMap, TakesIndicesAndGrayValuesAsClasses) {
  const std::string folder = TestFolder();
  Image classes(11, 7, 1);
  for (size_t i = 0; i < classes.pixels.size(); ++i) classes.pixels[i] = i % 5;
  WriteIndexedPng(folder + "/indexed.png", classes);
  WritePng(folder + "/gray.png", classes);
  EXPECT_EQ(ReadClassMap(folder + "/indexed.png").pixels, classes.pixels);
  EXPECT_EQ(ReadClassMap(folder + "/gray.png").pixels, classes.pixels);
  // As a picture the indexed one shows the palette's colours.
  const Image picture = ReadPhoto(folder + "/indexed.png");
  for (int x = 0; x < 5; ++x) {
    for (int c = 0; c < 3; ++c) EXPECT_EQ(picture.pixels[3 * x + c], kClassPalette[x][c]);
  }
}

TEST(ReadClassMap, RefusesColours) {
  const std::string path = TestFolder() + "/colours.png";
  WritePng(path, RandomPhoto(5, 4, 1));
  EXPECT_THAT([&] { ReadClassMap(path); }, ThrowsMessage<Error>(HasSubstr(path)));
}

TEST(WritePng, RepeatsByteForByteAndReadsBack) {
  const std::string folder = TestFolder();
  const Image photo = RandomPhoto(31, 17, 2);
  WritePng(folder + "/a.png", photo);
  WritePng(folder + "/b.png", photo);
  EXPECT_EQ(ReadFile(folder + "/a.png"), ReadFile(folder + "/b.png"));
  EXPECT_EQ(ReadPhoto(folder + "/a.png").pixels, photo.pixels);
}

TEST(ReadPhoto, NamesTheFileAndWhatIsWrongWithIt) {
  const std::string folder = TestFolder();
  const auto refuses = [&](const std::string& name, const std::string& bytes,
                           const std::string& reason) {
    const std::string path = folder + "/" + name;
    WriteFile(path, bytes);
    EXPECT_THAT([&] { ReadPhoto(path); },
                ThrowsMessage<Error>(testing::AllOf(HasSubstr(path), HasSubstr(reason))));
  };
  refuses("empty.jpg", "", "empty");
  refuses("text.png", "this is no image at all, but some text", "");
  refuses("scan.dcm", std::string(128, '\0') + "DICM" + std::string(100, '\0'), "DICOM");
  WriteJpeg(folder + "/whole.jpg", RandomPhoto(64, 48, 3), 90);
  const std::string jpeg = ReadFile(folder + "/whole.jpg");
  refuses("half.jpg", jpeg.substr(0, jpeg.size() / 2), "");
  WritePng(folder + "/whole.png", RandomPhoto(64, 48, 3));
  const std::string png = ReadFile(folder + "/whole.png");
  refuses("half.png", png.substr(0, png.size() / 2), "");
  EXPECT_THAT([&] { ReadPhoto(folder + "/missing.jpg"); },
              ThrowsMessage<Error>(HasSubstr("missing.jpg")));
  // A header that claims 30000 x 30000 pixels is refused by its size.
  std::string huge = png;
  huge[18] = 0x75, huge[19] = 0x30, huge[22] = 0x75, huge[23] = 0x30;
  refuses("huge.png", huge, "");
  EXPECT_THAT([&] { ReadPhoto(folder + "/whole.png", 100); },
              ThrowsMessage<Error>(HasSubstr("100")));
}

// A JPEG of four quarters (red, green / blue, white) with an orientation, in either byte order.
std::string OrientedJpeg(const std::string& folder, int orientation, bool big_endian) {
  Image photo(32, 16, 3);
  for (int y = 0; y < 16; ++y) {
    for (int x = 0; x < 32; ++x) {
      uint8_t* pixel = photo.Row(y) + 3 * x;
      const bool right = x >= 16, below = y >= 8;
      pixel[0] = right == below ? 255 : 0;
      pixel[1] = right ? 255 : 0;
      pixel[2] = below ? 255 : 0;
    }
  }
  WriteJpeg(folder + "/plain.jpg", photo, 95);
  const std::string jpeg = ReadFile(folder + "/plain.jpg");
  std::string tiff = big_endian
                         ? std::string("MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19)
                         : std::string("II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0", 18);
  tiff += static_cast<char>(orientation);
  tiff += big_endian ? std::string(6, '\0') : std::string(7, '\0');
  const std::string body = std::string("Exif\0\0", 6) + tiff;
  const size_t length = body.size() + 2;
  std::string marked = jpeg.substr(0, 2) + "\xff\xe1";
  marked += static_cast<char>(length >> 8);
  marked += static_cast<char>(length & 255);
  const std::string path = folder + "/oriented.jpg";
  WriteFile(path, marked + body + jpeg.substr(2));
  return path;
}

// "RGBW" by quarters: top left, top right, bottom left, bottom right.
std::string Quarters(const Image& image) {
  std::string text;
  for (const auto& [fx, fy] : {std::pair{1, 1}, {3, 1}, {1, 3}, {3, 3}}) {
    const uint8_t* p = image.Row(image.height * fy / 4) + 3 * (image.width * fx / 4);
    const bool r = p[0] > 127, g = p[1] > 127, b = p[2] > 127;
    text += r && g && b ? 'W' : r ? 'R' : g ? 'G' : b ? 'B' : '?';
  }
  return text;
}

TEST(ReadPhoto, AppliesExifOrientation) {
  const std::string folder = TestFolder();
  // As EXIF defines 1..8: where the stored first row and column are to be seen.
  const char* expected[8] = {"RGBW", "GRWB", "WBGR", "BWRG", "RBGW", "BRWG", "WGBR", "GWRB"};
  for (int orientation = 1; orientation <= 8; ++orientation) {
    for (const bool big_endian : {false, true}) {
      const std::string path = OrientedJpeg(folder, orientation, big_endian);
      const Image image = ReadPhoto(path);
      EXPECT_EQ(ReadPhotoHeader(path).value().width, image.width) << orientation;
      EXPECT_EQ(image.width, orientation < 5 ? 32 : 16) << orientation;
      EXPECT_EQ(Quarters(image), expected[orientation - 1]) << orientation;
    }
  }
}

TEST(ResizeMask, KeepsWhatCoversHalfOfAPixel) {
  for (const auto& [sw, sh, w, h] :
       {std::tuple{37, 29, 12, 10}, {40, 20, 10, 5}, {13, 11, 13, 11}, {9, 8, 21, 17}}) {
    const Image mask = RandomMask(sw, sh, 5);
    const Image resized = ResizeMask(mask, w, h);
    for (int y = 0; y < h; ++y) {
      for (int x = 0; x < w; ++x) {
        // In units where a source pixel is w x h and a destination pixel sw x sh.
        int64_t covered = 0;
        for (int j = 0; j < sh; ++j) {
          for (int i = 0; i < sw; ++i) {
            if (mask.Row(j)[i] == 0) continue;
            const int64_t dx = std::min((i + 1) * w, (x + 1) * sw) - std::max(i * w, x * sw);
            const int64_t dy = std::min((j + 1) * h, (y + 1) * sh) - std::max(j * h, y * sh);
            if (dx > 0 && dy > 0) covered += dx * dy;
          }
        }
        ASSERT_EQ(resized.Row(y)[x], 2 * covered >= int64_t{sw} * sh ? 255 : 0)
            << x << "," << y << " of " << w << "x" << h;
      }
    }
  }
}

TEST(Resize, LeavesEqualSizesAndFlatAreasAlone) {
  const Image photo = RandomPhoto(20, 14, 7);
  EXPECT_EQ(Resize(photo, 20, 14).pixels, photo.pixels);
  const Image flat = Resize(Image(50, 40, 3, 77), 17, 9);
  EXPECT_EQ(flat.pixels, std::vector<uint8_t>(17 * 9 * 3, 77));
}

TEST(Resize, KeepsTheMeanAndDoesNotAlias) {
  // Stripes finer than the new grid must come out as their mean, not as wider stripes.
  Image stripes(240, 30, 1);
  for (size_t i = 0; i < stripes.pixels.size(); ++i) stripes.pixels[i] = i % 2 ? 200 : 100;
  const Image small = Resize(stripes, 80, 10);
  for (int y = 1; y < 9; ++y) {
    for (int x = 4; x < 76; ++x) EXPECT_NEAR(small.Row(y)[x], 150, 8);  // 7 % of the amplitude
  }
  const Image photo = RandomPhoto(96, 90, 9);
  double mean = 0, mean_small = 0;
  for (const uint8_t value : photo.pixels) mean += value / (96.0 * 90 * 3);
  const Image half = Resize(photo, 32, 30);
  for (const uint8_t value : half.pixels) mean_small += value / (32.0 * 30 * 3);
  EXPECT_NEAR(mean, mean_small, 1);  // borders weigh differently
}

TEST(ResizeNearest, RepeatsPixelsByTheirCentres) {
  Image classes(2, 1, 1);
  classes.pixels = {3, 4};
  EXPECT_EQ(ResizeNearest(classes, 5, 1).pixels, (std::vector<uint8_t>{3, 3, 4, 4, 4}));
}

}  // namespace
}  // namespace lseg
