// Outlines on images small enough to work out by hand; such images have no legend.
#include "lseg/overlay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kNames = {"EX", "HE", "MA", "SE"};

std::array<uint8_t, 3> At(const Image& image, int x, int y) {
  const uint8_t* pixel = image.Row(y) + 3 * x;
  return {pixel[0], pixel[1], pixel[2]};
}

constexpr std::array<uint8_t, 3> kGray = {100, 100, 100};

TEST(DrawOverlay, SurroundsAnIsolatedPixelAndLeavesItVisible) {
  Image map(5, 5, 1);
  map.Row(2)[2] = 3;
  const Image overlay = DrawOverlay(Image(5, 5, 3, 100), map, kNames);
  EXPECT_EQ(At(overlay, 2, 2), kGray);
  for (auto [x, y] : {std::pair{1, 2}, {3, 2}, {2, 1}, {2, 3}}) {
    EXPECT_EQ(At(overlay, x, y), kClassPalette[3]) << x << "," << y;
  }
  // A corner is sqrt(2) away: 2 - sqrt(2) = 0.586 of it is covered, 149 of 255.
  for (int c = 0; c < 3; ++c) {
    EXPECT_EQ(At(overlay, 1, 1)[c], (100 * 106 + kClassPalette[3][c] * 149 + 127) / 255);
  }
  EXPECT_EQ(At(overlay, 0, 2), kGray);
  EXPECT_EQ(At(overlay, 0, 0), kGray);
}

TEST(DrawOverlay, LeavesAnImageWithoutLesionsAsItIs) {
  const Image photo(9, 7, 3, 42);
  EXPECT_EQ(DrawOverlay(photo, Image(9, 7, 1), kNames).pixels, photo.pixels);
}

TEST(DrawOverlay, WhereLesionsTouchTheHigherClassDraws) {
  Image map(6, 1, 1);
  map.pixels = {1, 1, 1, 2, 2, 2};
  const Image overlay = DrawOverlay(Image(6, 1, 3, 100), map, kNames);
  EXPECT_EQ(At(overlay, 1, 0), kGray);
  EXPECT_EQ(At(overlay, 2, 0), kClassPalette[2]);
  EXPECT_EQ(At(overlay, 3, 0), kGray);
}

TEST(DrawOverlay, LinesGrowWithTheImage) {
  Image map(2880, 3, 1);
  map.Row(1)[1000] = 1;
  const Image overlay = DrawOverlay(Image(2880, 3, 3, 100), map, kNames);
  EXPECT_EQ(At(overlay, 998, 1), kClassPalette[1]);
  EXPECT_EQ(At(overlay, 997, 1), kGray);
}

TEST(DrawOverlay, LegendShowsTheColourOfEachClass) {
  const Image overlay = DrawOverlay(Image(480, 320, 3), Image(480, 320, 1), kNames);
  int found[5] = {};
  for (int y = 0; y < overlay.height / 2; ++y) {
    for (int x = 0; x < overlay.width / 2; ++x) {
      for (int c = 1; c <= 4; ++c) found[c] += At(overlay, x, y) == kClassPalette[c];
    }
  }
  // Swatches are squares of the letters' height, 7 pixels.
  for (int c = 1; c <= 4; ++c) EXPECT_EQ(found[c], 49) << kNames[c - 1];
}

TEST(DrawOverlay, RefusesWhatDoesNotFit) {
  EXPECT_THROW(DrawOverlay(Image(4, 4, 3), Image(4, 5, 1), kNames), Error);
  EXPECT_THROW(DrawOverlay(Image(4, 4, 1), Image(4, 4, 1), kNames), Error);
  EXPECT_THROW(DrawOverlay(Image(4, 4, 3), Image(4, 4, 1), std::vector<std::string>(21, "X")),
               Error);
  Image map(4, 4, 1);
  map.Row(1)[2] = 3;
  try {
    DrawOverlay(Image(4, 4, 3), map, {"EX", "MA"});
    FAIL() << "class 3 of 2 was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("class 3 at (2,1)"));
  }
}

}  // namespace
}  // namespace lseg
