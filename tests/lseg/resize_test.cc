// Resampling against the definition in double precision, and what a filter that does not alias must
// do to waves of every length.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

#include "kernels/runtime/random.h"
#include "lseg/image.h"

namespace lseg {
namespace {

Image RandomImage(int width, int height, int channels, uint64_t seed) {
  Image image(width, height, channels);
  Random random(seed, 0);
  for (uint8_t& value : image.pixels) value = static_cast<uint8_t>(random.Below(256));
  return image;
}

double Cubic(double x) {  // Keys 1981, a = -1/2
  x = std::abs(x);
  if (x < 1) return 1.5 * x * x * x - 2.5 * x * x + 1;
  if (x < 2) return -0.5 * x * x * x + 2.5 * x * x - 4 * x + 2;
  return 0;
}

// Weight of every source sample in destination sample i.
std::vector<double> Weights(int from, int to, int i) {
  const double step = static_cast<double>(from) / to, stretch = std::max(1.0, step);
  std::vector<double> weights(from);
  double sum = 0;
  for (int k = 0; k < from; ++k) {
    weights[k] = Cubic((k + 0.5 - (i + 0.5) * step) / stretch);
    sum += weights[k];
  }
  for (double& weight : weights) weight /= sum;
  return weights;
}

TEST(Resize, IsTheStretchedCubicInEitherDirection) {
  for (const auto& [sw, sh, w, h, channels] : {std::array{43, 29, 14, 10, 3},
                                               {20, 31, 33, 12, 1},
                                               {9, 7, 25, 21, 2},
                                               {5, 3, 4, 17, 4},
                                               {64, 1, 7, 3, 3},
                                               {1, 1, 6, 4, 3},
                                               {17, 40, 1, 1, 1}}) {
    const Image image = RandomImage(sw, sh, channels, 11);
    const Image resized = Resize(image, w, h);
    ASSERT_EQ(resized.pixels.size(), static_cast<size_t>(w) * h * channels);
    for (int y = 0; y < h; ++y) {
      const std::vector<double> rows = Weights(sh, h, y);
      for (int x = 0; x < w; ++x) {
        const std::vector<double> columns = Weights(sw, w, x);
        for (int c = 0; c < channels; ++c) {
          double sum = 0;
          for (int j = 0; j < sh; ++j) {
            for (int i = 0; i < sw; ++i) {
              sum += rows[j] * columns[i] * image.Row(j)[i * channels + c];
            }
          }
          // Half a level by the last rounding. Weights of 14 bits are off by up to 2^-14 each, of
          // 255 and at most 45 taps that count: random signs make that less than a tenth.
          EXPECT_NEAR(resized.Row(y)[x * channels + c], std::clamp(sum, 0.0, 255.0), 0.6)
              << sw << "x" << sh << " to " << w << "x" << h << " at " << x << "," << y;
        }
      }
    }
  }
}

TEST(Resize, FlatAreasStayAsTheyAreAtAnySize) {
  for (const int value : {0, 1, 128, 254, 255}) {
    for (const auto& [w, h] : {std::pair{13, 8}, {100, 3}, {1, 1}, {41, 61}}) {
      const Image flat = Resize(Image(40, 60, 3, static_cast<uint8_t>(value)), w, h);
      EXPECT_EQ(flat.pixels, std::vector<uint8_t>(static_cast<size_t>(w) * h * 3, value));
    }
  }
}

TEST(Resize, EqualSizesAreTheIdentity) {
  const Image image = RandomImage(31, 17, 3, 2);
  EXPECT_EQ(Resize(image, 31, 17).pixels, image.pixels);
  // One direction alone: rows stay rows.
  Image rows(10, 12, 1);
  for (int y = 0; y < 12; ++y) std::fill_n(rows.Row(y), 10, static_cast<uint8_t>(20 * y));
  const Image narrow = Resize(rows, 4, 12);
  for (int y = 0; y < 12; ++y) EXPECT_EQ(narrow.Row(y)[1], 20 * y);
}

TEST(Resize, KeepsTheMean) {
  // Away from the edges (which the cut filter weighs otherwise) every source pixel counts alike, if
  // its surroundings are flat: a bright field in the dark keeps its sum.
  Image image(300, 200, 1, 50);
  const Image field = RandomImage(180, 120, 1, 5);
  for (int y = 0; y < 120; ++y) {
    for (int x = 0; x < 180; ++x) {
      // 100 to 163 so that the cubic's overshoot is never clipped.
      image.Row(40 + y)[60 + x] = static_cast<uint8_t>(100 + field.Row(y)[x] / 4);
    }
  }
  const auto mean = [](const Image& of) {
    double sum = 0;
    for (const uint8_t value : of.pixels) sum += value;
    return sum / static_cast<double>(of.pixels.size());
  };
  for (const auto& [w, h] : {std::pair{100, 70}, {101, 67}, {77, 150}}) {
    // Rounding to levels has a deviation of 0.29, over at least 6767 pixels 0.004; weights of 14
    // bits move it by less than 0.02.
    EXPECT_NEAR(mean(Resize(image, w, h)), mean(image), 0.03) << w << "x" << h;
  }
}

// Amplitude of what is left of a wave of `cycles` a destination pixel, at IDRiD's reduction.
double Passed(double cycles) {
  constexpr int kFrom = 4288, kTo = 1440;
  double largest = 0;
  for (const double phase : {0.0, 1.0}) {
    Image wave(kFrom, 4, 1);
    for (int y = 0; y < 4; ++y) {
      for (int x = 0; x < kFrom; ++x) {
        const double angle = 2 * std::numbers::pi * cycles * kTo / kFrom * (x + 0.5) + phase;
        wave.Row(y)[x] = static_cast<uint8_t>(std::lround(127.5 + 100 * std::sin(angle)));
      }
    }
    const Image small = Resize(wave, kTo, 4);
    for (int x = 8; x < kTo - 8; ++x) {
      largest = std::max(largest, std::abs(small.Row(1)[x] - 127.5) / 100);
    }
  }
  return largest;
}

TEST(Resize, KeepsLongWavesAndRemovesThoseThatWouldAlias) {
  // Nyquist is half a cycle. The largest value of sampled waves, in levels of 1 in 100.
  EXPECT_GT(Passed(0.1), 0.97);
  EXPECT_GT(Passed(0.25), 0.90);  // an average over areas keeps 0.90, the filter 0.94
  EXPECT_LT(Passed(0.75), 0.08);  // an average over areas lets 0.30 through
  for (const double cycles : {0.9, 1.1, 1.25, 1.4}) EXPECT_LT(Passed(cycles), 0.03) << cycles;
}

TEST(ResizeNearest, TakesThePixelUnderTheCentre) {
  Image image(3, 2, 3);
  for (size_t i = 0; i < image.pixels.size(); ++i) image.pixels[i] = static_cast<uint8_t>(i);
  const Image large = ResizeNearest(image, 7, 5);
  for (int y = 0; y < 5; ++y) {
    for (int x = 0; x < 7; ++x) {
      const int from_x = static_cast<int>((x + 0.5) * 3 / 7);
      const int from_y = static_cast<int>((y + 0.5) * 2 / 5);
      for (int c = 0; c < 3; ++c) {
        EXPECT_EQ(large.Row(y)[3 * x + c], image.Row(from_y)[3 * from_x + c]) << x << "," << y;
      }
    }
  }
}

TEST(Resize, SizesMustBePositive) {
  EXPECT_THROW(Resize(Image(4, 4, 3), 0, 4), Error);
  EXPECT_THROW(Resize(Image(), 4, 4), Error);
  EXPECT_THROW(ResizeMask(Image(4, 4, 3), 2, 2), Error);  // three channels are no mask
  EXPECT_THROW(ResizeNearest(Image(4, 4, 1), 4, -1), Error);
}

}  // namespace
}  // namespace lseg
