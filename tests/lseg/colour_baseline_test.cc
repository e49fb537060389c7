// Colours taken as probabilities: against PrEvaluator on the same maps, and on images whose best
// map is known.
#include "lseg/colour_baseline.h"

#include <gtest/gtest.h>

#include "kernels/runtime/random.h"

namespace lseg {
namespace {

TEST(ColourBaseline, IsTheAreaOfEachColourAsProbability) {
  constexpr int kWidth = 9, kHeight = 7, kPixels = kWidth * kHeight;
  Random random(3, 0);
  ColourBaseline baseline(2);
  std::vector<PrEvaluator> by_map(6, PrEvaluator({.lesions = {"EX", "HE"}}));
  for (int image = 0; image < 3; ++image) {
    Image photo(kWidth, kHeight, 3);
    std::vector<uint8_t> truth(2 * kPixels);
    for (uint8_t& value : photo.pixels) value = static_cast<uint8_t>(random.Below(256));
    for (int i = 0; i < kPixels; ++i) {
      truth[i] = random.Below(255) < photo.pixels[3 * i + 1] / 2u;                    // EX is green
      truth[kPixels + i] = random.Below(255) < (255u - photo.pixels[3 * i + 2]) / 2;  // HE no blue
    }
    baseline.Add(photo, truth.data());
    for (int map = 0; map < 6; ++map) {
      std::vector<float> prob(2 * kPixels);
      for (int i = 0; i < 2 * kPixels; ++i) {
        const float value = photo.pixels[3 * (i % kPixels) + map % 3] / 255.0f;
        prob[i] = map < 3 ? value : 1 - value;
      }
      by_map[map].Add("image", prob.data(), truth.data(), kHeight, kWidth);
    }
  }
  const std::vector<ColourAreas> areas = baseline.Areas();
  ASSERT_EQ(areas.size(), 2u);
  for (int c = 0; c < 2; ++c) {
    for (int map = 0; map < 6; ++map) {
      const Report expected = by_map[map].Pooled();
      EXPECT_EQ(areas[c].aupr[map], expected.lesions[c].curves.at(Protocol::kIdrid33).aupr)
          << c << " " << kColourMaps[map];
    }
  }
  EXPECT_STREQ(kColourMaps[areas[0].best], "G");
  EXPECT_STREQ(kColourMaps[areas[1].best], "inverse B");
}

TEST(ColourBaseline, WhatIsNotAnnotatedDoesNotCount) {
  // Two pixels, one of them lesion and brighter; then the same where nobody has looked for it.
  ColourBaseline baseline(1);
  Image photo(2, 1, 3, 10);
  photo.pixels[0] = 200;
  const uint8_t truth[2] = {1, 0}, none[2] = {0, 0};
  baseline.Add(photo, truth);
  baseline.Add(photo, none, {false});
  EXPECT_EQ(*baseline.Areas()[0].aupr[0], 1);  // red alone finds it, without a false alarm
  baseline.Add(photo, none);
  EXPECT_LT(*baseline.Areas()[0].aupr[0], 1);
}

TEST(ColourBaseline, AnAbsentLesionHasNone) {
  ColourBaseline baseline(1);
  const uint8_t truth[2] = {0, 0};
  baseline.Add(Image(2, 1, 3, 200), truth);
  EXPECT_EQ(baseline.Areas()[0].best, -1);
  EXPECT_FALSE(baseline.Areas()[0].aupr[0].has_value());
}

}  // namespace
}  // namespace lseg
