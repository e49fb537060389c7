// Resampling against a direct double-precision sum over the triangle, class maps by hand.
#include "lseg/probabilities.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "kernels/runtime/random.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Probabilities Row(std::vector<float> values) {
  Probabilities row(static_cast<int>(values.size()), 1, {"EX"});
  row.values = std::move(values);
  return row;
}

Probabilities RandomMaps(int width, int height, size_t classes, uint64_t seed) {
  Probabilities maps(width, height, std::vector<std::string>(classes, "X"));
  Random random(seed, 0);
  for (float& value : maps.values) value = random.Uniform();
  return maps;
}

// The value at one destination pixel: every source pixel, edges repeated well beyond the image,
// weighted by the triangle around the place where the pixel's centre lies.
double Oracle(const Probabilities& src, size_t c, int width, int height, int x, int y) {
  const double rx = static_cast<double>(src.width) / width, cx = (x + 0.5) * rx - 0.5;
  const double ry = static_cast<double>(src.height) / height, cy = (y + 0.5) * ry - 0.5;
  double sum = 0, weights = 0;
  for (int v = -src.height; v < 2 * src.height; ++v) {
    for (int u = -src.width; u < 2 * src.width; ++u) {
      const double wx = std::max(0.0, 1 - std::abs(u - cx) / std::max(1.0, rx));
      const double wy = std::max(0.0, 1 - std::abs(v - cy) / std::max(1.0, ry));
      const int su = std::clamp(u, 0, src.width - 1), sv = std::clamp(v, 0, src.height - 1);
      sum += wx * wy * src.Map(c)[static_cast<size_t>(sv) * src.width + su];
      weights += wx * wy;
    }
  }
  return sum / weights;
}

TEST(ResizeProbabilities, DoublesByQuarters) {
  EXPECT_THAT(ResizeProbabilities(Row({0, 1}), 4, 1).values, ElementsAre(0, 0.25f, 0.75f, 1));
}

TEST(ResizeProbabilities, ReductionSeesEverySample) {
  // Bilinear at the two centres alone would read samples 1, 2 and 5, 6 and miss the ones.
  const Probabilities half = ResizeProbabilities(Row({1, 0, 0, 0, 0, 0, 0, 1}), 2, 1);
  EXPECT_GT(half.values[0], 0.1f);
  EXPECT_EQ(half.values[0], half.values[1]);
}

// Larger and smaller, more rows than a band of the class map has, and the same size.
TEST(ResizedClassMap, IsTheClassMapOfTheResizedProbabilities) {
  for (const auto& [sw, sh, w, h] :
       {std::tuple{24, 16, 71, 97}, {61, 47, 23, 11}, {13, 70, 40, 33}, {45, 67, 45, 67}}) {
    for (const size_t classes : {1u, 4u}) {
      Probabilities maps = RandomMaps(sw, sh, classes, 3);
      if (classes == 4) std::copy_n(maps.Map(0), maps.Plane(), maps.Map(2));  // equals
      const std::vector<float> thresholds =
          classes == 4 ? std::vector{0.4f, 0.7f, 0.4f, 0.5f} : std::vector{0.5f};
      const Probabilities resized = ResizeProbabilities(maps, w, h);
      // The rule, pixel by pixel.
      std::vector<uint8_t> expected(static_cast<size_t>(w) * h);
      for (size_t i = 0; i < expected.size(); ++i) {
        float best = 0;
        for (size_t c = 0; c < classes; ++c) {
          const float ratio = resized.Map(c)[i] / thresholds[c];
          if (resized.Map(c)[i] >= thresholds[c] && ratio > best) {
            best = ratio;
            expected[i] = static_cast<uint8_t>(c + 1);
          }
        }
      }
      const Image map = ResizedClassMap(maps, w, h, thresholds);
      EXPECT_EQ(map.width, w);
      EXPECT_EQ(map.pixels, expected) << sw << "x" << sh << " to " << w << "x" << h;
      EXPECT_EQ(ClassMap(resized, thresholds).pixels, expected);
      EXPECT_GT(std::count(expected.begin(), expected.end(), 0), 0);
      EXPECT_LT(std::count(expected.begin(), expected.end(), 0), int64_t{w} * h);
    }
  }
}

TEST(ResizeProbabilities, SameSizeIsTheIdentity) {
  const Probabilities maps = RandomMaps(7, 5, 2, 1);
  EXPECT_EQ(ResizeProbabilities(maps, 7, 5).values, maps.values);
}

TEST(ResizeProbabilities, MatchesTheOracle) {
  const Probabilities src = RandomMaps(13, 9, 2, 2);
  for (auto [width, height] : {std::pair{29, 31}, {13, 20}, {5, 4}, {6, 30}, {1, 1}}) {
    const Probabilities dst = ResizeProbabilities(src, width, height);
    for (size_t c = 0; c < 2; ++c) {
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          // Sums of at most 27 x 19 products of f32 weights: rounding stays below 1e-6.
          ASSERT_NEAR(dst.Map(c)[y * width + x], Oracle(src, c, width, height, x, y), 1e-6)
              << width << "x" << height << " class " << c << " at (" << x << "," << y << ")";
        }
      }
    }
  }
}

TEST(ResizeProbabilities, StaysWithinZeroAndOne) {
  Probabilities ones(7, 7, {"EX"});
  ones.values.assign(49, 1.0f);
  for (float p : ResizeProbabilities(ones, 23, 3).values) EXPECT_NEAR(p, 1.0f, 1e-6f);
  for (float p : ResizeProbabilities(ones, 23, 3).values) EXPECT_LE(p, 1.0f);
}

Image ClassesOf(std::vector<float> values, const std::vector<float>& thresholds) {
  Probabilities pixel(1, 1, std::vector<std::string>(values.size(), "X"));
  pixel.values = std::move(values);
  return ClassMap(pixel, thresholds);
}

TEST(ClassMap, LargestShareOfItsThresholdWins) {
  const std::vector<float> half(4, 0.5f);
  EXPECT_EQ(ClassesOf({0.1f, 0.2f, 0.3f, 0.4f}, half).pixels[0], 0);
  EXPECT_EQ(ClassesOf({0.6f, 0.9f, 0.3f, 0.7f}, half).pixels[0], 2);
  // 0.6 / 0.5 = 1.2 is less than 0.3 / 0.2 = 1.5.
  EXPECT_EQ(ClassesOf({0.6f, 0.0f, 0.3f, 0.0f}, {0.5f, 0.5f, 0.2f, 0.5f}).pixels[0], 3);
  // The largest p / t counts among those that reach their threshold only.
  EXPECT_EQ(ClassesOf({0.79f, 0.5f, 0, 0}, {0.8f, 0.5f, 0.5f, 0.5f}).pixels[0], 2);
}

TEST(ClassMap, ThresholdIsReachedAtEquality) {
  EXPECT_EQ(ClassesOf({0.5f}, {0.5f}).pixels[0], 1);
  EXPECT_EQ(ClassesOf({std::nextafter(0.5f, 0.0f)}, {0.5f}).pixels[0], 0);
  EXPECT_EQ(ClassesOf({1.0f}, {1.0f}).pixels[0], 1);
}

TEST(ClassMap, FirstOfEquals) {
  EXPECT_EQ(ClassesOf({0, 0.75f, 0.75f, 0}, std::vector<float>(4, 0.5f)).pixels[0], 2);
}

TEST(ClassMap, RefusesThresholdsThatMakeNoSense) {
  EXPECT_THROW(ClassesOf({0.5f}, {0.0f}), Error);
  EXPECT_THROW(ClassesOf({0.5f}, {1.5f}), Error);
  EXPECT_THROW(ClassesOf({0.5f}, {NAN}), Error);
  try {
    ClassesOf({0.5f, 0.5f}, {0.5f});
    FAIL() << "one threshold for two classes was taken";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("1 thresholds for 2 classes"));
  }
}

TEST(ToGray, RoundsToNearest) {
  Probabilities row = Row({0, 0.5f, 1, 0.4f / 255, 0.6f / 255, 254.6f / 255});
  EXPECT_THAT(ToGray(row, 0).pixels, ElementsAre(0, 128, 255, 0, 1, 255));
}

TEST(GrayOf, DoesNotRoundTwice) {
  // 255 times this float is 128.49999994; as a float the product would be 128.5, and 129 the gray.
  EXPECT_EQ(GrayOf(0x1.020202p-1f), 128);
  EXPECT_EQ(GrayOf(0x1.020204p-1f), 129);
}

}  // namespace
}  // namespace lseg
