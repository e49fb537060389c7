// Components of maps that can be counted by eye, and of random maps against a flood fill.
#include "lseg/components.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <tuple>

#include "kernels/runtime/random.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;

const std::vector<std::string> kNames = {"EX", "HE"};

Image MapOf(int width, const std::string& rows) {
  Image map(width, static_cast<int>(rows.size()) / width, 1);
  std::transform(rows.begin(), rows.end(), map.pixels.begin(),
                 [](char c) { return c == '.' ? 0 : c - '0'; });
  return map;
}

Probabilities Constant(const Image& map, float ex, float he) {
  Probabilities p(map.width, map.height, kNames);
  std::fill_n(p.Map(0), p.Plane(), ex);
  std::fill_n(p.Map(1), p.Plane(), he);
  return p;
}

TEST(FindComponents, DiagonalsJoinAndClassesDoNot) {
  const Image map = MapOf(6,
                          "1....1"
                          ".1...1"
                          "..2..1"
                          "22...."
                          "......");
  Probabilities p = Constant(map, 0.5f, 0.75f);
  p.Map(0)[5] = 0.9f;
  p.Map(0)[7] = 1.0f;
  const std::vector<Component> parts = FindComponents(map, p);
  ASSERT_EQ(parts.size(), 3u);
  EXPECT_EQ(parts[0].lesion, 0);  // the bar on the right, the largest EX
  EXPECT_EQ(parts[0].area, 3);
  EXPECT_EQ(parts[0].centroid_x, 5);
  EXPECT_EQ(parts[0].centroid_y, 1);
  EXPECT_EQ(std::tuple(parts[0].left, parts[0].top, parts[0].right, parts[0].bottom),
            std::tuple(5, 0, 6, 3));
  EXPECT_NEAR(parts[0].mean_probability, 1.9 / 3, 1e-7);  // 0.9f is not 0.9
  EXPECT_EQ(parts[0].max_probability, 0.9f);
  EXPECT_EQ(parts[1].area, 2);
  EXPECT_EQ(parts[1].centroid_x, 0.5);
  EXPECT_EQ(parts[1].centroid_y, 0.5);
  EXPECT_EQ(parts[1].mean_probability, 0.75);
  EXPECT_EQ(parts[2].lesion, 1);
  EXPECT_EQ(parts[2].area, 3);
  EXPECT_EQ(parts[2].centroid_x, 1);
  EXPECT_EQ(parts[2].centroid_y, 8.0 / 3);
  EXPECT_EQ(std::tuple(parts[2].left, parts[2].top, parts[2].right, parts[2].bottom),
            std::tuple(0, 2, 3, 4));
  EXPECT_EQ(parts[2].max_probability, 0.75f);
}

TEST(FindComponents, ArmsThatMeetLateAreOne) {
  const Image map = MapOf(7,
                          "1.1.1.1"
                          "1.1.1.1"
                          "1.111.1"
                          "1.....1"
                          "1111111");
  EXPECT_EQ(FindComponents(map, Constant(map, 1, 1)).size(), 2u);
  EXPECT_EQ(FindComponents(map, Constant(map, 1, 1))[0].area, 15);
}

// What it must agree with: a flood fill that looks at the eight neighbours of each pixel.
std::vector<std::tuple<int, int64_t, int64_t, int64_t>> Flooded(Image map) {
  std::vector<std::tuple<int, int64_t, int64_t, int64_t>> parts;
  for (int y = 0; y < map.height; ++y) {
    for (int x = 0; x < map.width; ++x) {
      const uint8_t label = map.Row(y)[x];
      if (label == 0) continue;
      int64_t area = 0, sum_x = 0, sum_y = 0;
      std::vector<std::pair<int, int>> stack = {{x, y}};
      map.Row(y)[x] = 0;
      while (!stack.empty()) {
        const auto [u, v] = stack.back();
        stack.pop_back();
        ++area, sum_x += u, sum_y += v;
        for (int j = std::max(0, v - 1); j <= std::min(map.height - 1, v + 1); ++j) {
          for (int i = std::max(0, u - 1); i <= std::min(map.width - 1, u + 1); ++i) {
            if (map.Row(j)[i] != label) continue;
            map.Row(j)[i] = 0;
            stack.push_back({i, j});
          }
        }
      }
      parts.emplace_back(label - 1, area, sum_x, sum_y);
    }
  }
  std::sort(parts.begin(), parts.end());
  return parts;
}

TEST(FindComponents, AgreesWithAFloodFill) {
  for (uint64_t seed = 0; seed < 30; ++seed) {
    Random random(5, seed);
    Image map(1 + static_cast<int>(random.Below(40)), 1 + static_cast<int>(random.Below(30)), 1);
    for (uint8_t& label : map.pixels) label = random.Uniform() < 0.5 ? 0 : 1 + random.Below(2);
    std::vector<std::tuple<int, int64_t, int64_t, int64_t>> found;
    for (const Component& part : FindComponents(map, Constant(map, 1, 1))) {
      const auto area = static_cast<double>(part.area);
      found.emplace_back(part.lesion, part.area, std::llround(part.centroid_x * area),
                         std::llround(part.centroid_y * area));
    }
    std::sort(found.begin(), found.end());
    EXPECT_EQ(found, Flooded(map)) << "seed " << seed;
  }
}

TEST(FindComponents, ProbabilitiesOfAnotherSizeAreThoseThatTheClassMapCameFrom) {
  Probabilities small(7, 5, kNames);
  Random random(2, 0);
  for (float& p : small.values) p = random.Uniform();
  for (const auto& [width, height] : {std::pair{23, 16}, {4, 3}, {7, 5}}) {
    const Probabilities own = ResizeProbabilities(small, width, height);
    const ProbabilitySampler sampler(small, width, height);
    for (size_t c = 0; c < 2; ++c) {
      for (int y = 0; y < height; ++y) {
        for (int x = 0; x < width; ++x) {
          ASSERT_EQ(sampler.At(c, x, y), own.Map(c)[y * width + x]) << c << " " << x << " " << y;
        }
      }
    }
    const float thresholds[] = {0.5f, 0.5f};
    for (const Component& part :
         FindComponents(ResizedClassMap(small, width, height, thresholds), small)) {
      EXPECT_GE(part.mean_probability, 0.5);
      EXPECT_GE(part.max_probability, part.mean_probability);
    }
  }
}

TEST(FindComponents, NothingAndTooMuch) {
  EXPECT_TRUE(FindComponents(Image(9, 7, 1), Constant(Image(9, 7, 1), 1, 1)).empty());
  const Image map = MapOf(2, "..3.");
  EXPECT_THAT([&] { FindComponents(map, Constant(map, 1, 1)); },
              ThrowsMessage<Error>(HasSubstr("class 3 at (0,1)")));
}

}  // namespace
}  // namespace lseg
