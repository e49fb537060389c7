// Where photographs lie in a frame of another shape.
#include "lseg/fit.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lseg {
namespace {

void ExpectFit(int width, int height, const Fit& expected) {
  const Fit fit = FitInto(width, height, 1440, 960);
  EXPECT_EQ(fit.left, expected.left) << width << "x" << height;
  EXPECT_EQ(fit.top, expected.top) << width << "x" << height;
  EXPECT_EQ(fit.width, expected.width) << width << "x" << height;
  EXPECT_EQ(fit.height, expected.height) << width << "x" << height;
}

TEST(FitInto, TouchesTwoSidesInTheMiddle) {
  ExpectFit(4288, 2848, {0, 0, 1440, 960});  // IDRiD: stretched by 0.4 %
  ExpectFit(1440, 960, {0, 0, 1440, 960});
  ExpectFit(1000, 1000, {240, 0, 960, 960});
  ExpectFit(960, 1440, {400, 0, 640, 960});
  ExpectFit(2000, 1000, {0, 120, 1440, 720});
  ExpectFit(1, 100000, {719, 0, 1, 960});  // never nothing
  ExpectFit(1454, 960, {0, 0, 1440, 960});
  ExpectFit(1456, 960, {0, 5, 1440, 949});  // 1.1 %
  EXPECT_THROW(FitInto(0, 5, 10, 10), Error);
}

TEST(FitPhoto, IsTheResizedPhotographInBlack) {
  Image photo(8, 8, 3);
  for (size_t i = 0; i < photo.pixels.size(); ++i) photo.pixels[i] = static_cast<uint8_t>(i + 60);
  const Image framed = FitPhoto(photo, 9, 4), scaled = Resize(photo, 4, 4);
  Image expected(9, 4, 3);
  for (int y = 0; y < 4; ++y) {
    for (int i = 0; i < 12; ++i) expected.Row(y)[6 + i] = scaled.Row(y)[i];
  }
  EXPECT_EQ(framed.pixels, expected.pixels);
  EXPECT_EQ(FitPhoto(photo, 4, 4).pixels, scaled.pixels);
}

}  // namespace
}  // namespace lseg
