// Average precision without sorting all pixels against average precision with, at sizes around the
// chunk of negatives that is sorted at once.
#include "lseg/exact_ap.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "kernels/runtime/check.h"
#include "kernels/runtime/random.h"

namespace lseg {
namespace {

struct Pixels {
  std::vector<float> prob;
  std::vector<uint8_t> truth;
};

// `negatives` negative pixels and a hundredth as many positives, of higher probability on the
// whole. levels > 0 makes ties.
Pixels Draw(size_t negatives, uint32_t levels, uint64_t seed) {
  Random random(seed, 0);
  Pixels pixels;
  const size_t positives = negatives / 100 + 1;
  for (size_t i = 0; i < negatives + positives; ++i) {
    const bool lesion = i % 101 == 0 ? i / 101 < positives : false;
    float p = levels ? static_cast<float>(random.Below(levels + 1)) / levels : random.Uniform();
    if (!lesion) p *= p;
    pixels.prob.push_back(p);
    pixels.truth.push_back(lesion);
  }
  return pixels;
}

// Sorts all pixels, highest first, and adds a step for every run of equal probabilities.
double BySorting(const Pixels& pixels) {
  std::vector<std::pair<float, int>> sorted;
  double all = 0;
  for (size_t i = 0; i < pixels.prob.size(); ++i) {
    sorted.emplace_back(-pixels.prob[i], pixels.truth[i]);
    all += pixels.truth[i];
  }
  std::sort(sorted.begin(), sorted.end());
  double area = 0, hits = 0, last_hits = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    hits += sorted[i].second;
    if (i + 1 < sorted.size() && sorted[i + 1].first == sorted[i].first) continue;
    area += (hits - last_hits) / all * (hits / static_cast<double>(i + 1));
    last_hits = hits;
  }
  return area;
}

// Shows the pixels in images of `size`.
PrCurve Show(const Pixels& pixels, size_t size, size_t max_points = 100) {
  ExactAp exact;
  for (int pass = 0; pass < 2; ++pass) {
    for (size_t from = 0; from < pixels.prob.size(); from += size) {
      const auto count = static_cast<int64_t>(std::min(size, pixels.prob.size() - from));
      if (pass == 0) {
        exact.AddPositives(&pixels.prob[from], &pixels.truth[from], count);
      } else {
        exact.AddNegatives(&pixels.prob[from], &pixels.truth[from], count);
      }
    }
  }
  return exact.Curve(max_points);
}

// Up to ten thousand terms in double.
constexpr double kTolerance = 1e-11;

TEST(ExactAp, EqualsSortingAllPixelsAroundTheChunk) {
  for (int off : {-1, 0, 1}) {
    for (uint32_t levels : {0u, 200u}) {
      const Pixels pixels = Draw(ExactAp::kChunk + off, levels, 7);
      EXPECT_NEAR(Show(pixels, pixels.prob.size()).aupr.value(), BySorting(pixels), kTolerance)
          << off << " from the chunk, " << levels << " levels";
    }
  }
  const Pixels pixels = Draw(2 * ExactAp::kChunk + 12345, 0, 8);
  EXPECT_NEAR(Show(pixels, pixels.prob.size()).aupr.value(), BySorting(pixels), kTolerance);
}

TEST(ExactAp, DoesNotDependOnHowPixelsAreSplit) {
  const Pixels pixels = Draw(5000, 300, 9);
  const double expected = BySorting(pixels);
  for (size_t size : {1, 7, 1000, 5050, 100000}) {
    EXPECT_NEAR(Show(pixels, size).aupr.value(), expected, kTolerance) << size;
  }
}

// Neighbouring floats stay apart, and denormals and 0 too: nothing is rounded on the way.
TEST(ExactAp, TellsNeighbouringFloatsApart) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  for (float p : {1.0f, 0.5f, 1e-30f, tiny}) {
    const float below = std::nextafter(p, 0.0f);
    EXPECT_EQ(Show({{p, below}, {1, 0}}, 2).aupr, 1) << p;
    EXPECT_EQ(Show({{p, below}, {0, 1}}, 2).aupr, 0.5) << p;
  }
  EXPECT_EQ(Show({{-0.0f, 0.5f}, {0, 1}}, 2).aupr, 1);  // -0 is 0, not the largest pattern
  EXPECT_EQ(Show({{-0.0f, 0.0f}, {0, 1}}, 2).aupr, 0.5);
}

TEST(ExactAp, ThinsTheCurveToItsEndsAndEvenSteps) {
  const Pixels pixels = Draw(100000, 0, 10);  // 1001 positives, next to no ties
  const PrCurve whole = Show(pixels, pixels.prob.size(), 1 << 20);
  const PrCurve thin = Show(pixels, pixels.prob.size(), 50);
  ASSERT_GT(whole.points.size(), 990u);
  ASSERT_EQ(thin.points.size(), 50u);
  EXPECT_EQ(thin.aupr, whole.aupr);
  EXPECT_EQ(thin.points.front().threshold, whole.points.front().threshold);
  EXPECT_EQ(thin.points.back().threshold, whole.points.back().threshold);
  EXPECT_EQ(thin.points.back().recall, 1);
  for (size_t i = 1; i < thin.points.size(); ++i) {
    EXPECT_NEAR(thin.points[i].recall - thin.points[i - 1].recall, 1 / 49.0, 0.003) << i;
  }
}

TEST(ExactAp, WantsTheSecondPass) {
  ExactAp exact;
  EXPECT_FALSE(exact.Curve(10).aupr.has_value());
  const float prob = 0.5f;
  const uint8_t truth = 1;
  exact.AddPositives(&prob, &truth, 1);
  EXPECT_THROW(exact.Curve(10), Error);
  exact.AddNegatives(&prob, &truth, 1);
  EXPECT_EQ(exact.Curve(10).aupr, 1);
}

}  // namespace
}  // namespace lseg
