// Augmentation: the geometry on arrays small enough to work out by hand, and what is drawn.
#include "lseg/augment.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <tuple>

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::FloatNear;
using testing::Pointwise;

constexpr std::array<float, 3> kNoMean = {0, 0, 0};
constexpr int kPad = -1;

struct Crop {
  std::vector<float> data;
  std::vector<uint8_t> label;
};

Crop Apply(const TrainingImage& image, const AugmentParams& params,
           const std::array<float, 3>& mean = kNoMean) {
  const size_t plane = static_cast<size_t>(params.width) * params.height;
  // Not the values that should be written.
  Crop crop{std::vector<float>(3 * plane, 1e9f),
            std::vector<uint8_t>(image.lesions.size() * plane, 7)};
  Augment(image, params, mean, crop.data.data(), crop.label.data());
  return crop;
}

AugmentParams Whole(const TrainingImage& image) {
  AugmentParams params;
  params.width = image.photo.width;
  params.height = image.photo.height;
  return params;
}

// A gray photograph, and one mask a list of pixels.
TrainingImage Gray(int width, int height, const std::vector<uint8_t>& values,
                   std::vector<std::vector<uint32_t>> lesions = {{}}) {
  TrainingImage image{Image(width, height, 3), std::move(lesions)};
  for (size_t i = 0; i < values.size(); ++i) {
    for (int c = 0; c < 3; ++c) image.photo.pixels[3 * i + c] = values[i];
  }
  return image;
}

TrainingImage RandomImage(int width, int height, int classes, uint64_t seed) {
  Random random(seed, 0);
  Image photo(width, height, 3);
  for (uint8_t& sample : photo.pixels) sample = static_cast<uint8_t>(random.Below(256));
  std::vector<Image> masks(classes, Image(width, height, 1));
  for (Image& mask : masks) {
    for (uint8_t& pixel : mask.pixels) pixel = random.Below(20) == 0 ? 255 : 0;
  }
  return MakeTrainingImage(std::move(photo), masks);
}

TEST(Augment, DefaultParametersGiveTheImageInBgrLessTheMean) {
  const TrainingImage image = RandomImage(7, 5, 3, 1);
  const std::array<float, 3> mean = {16.3090f, 56.4373f, 116.5132f};
  const Crop crop = Apply(image, Whole(image), mean);
  for (int c = 0; c < 3; ++c) {
    for (int i = 0; i < 35; ++i) {
      EXPECT_EQ(crop.data[c * 35 + i], float(image.photo.pixels[3 * i + 2 - c]) - mean[c]);
    }
  }
  for (int c = 0; c < 3; ++c) {
    const auto& pixels = image.lesions[c];
    for (uint32_t i = 0; i < 35; ++i) {
      const bool lesion = std::count(pixels.begin(), pixels.end(), i) > 0;
      EXPECT_EQ(crop.label[c * 35 + i], lesion ? 1 : 0);
    }
  }
}

TEST(Augment, GainAndOffsetActOnTheirChannelAndAreNotClipped) {
  TrainingImage image{Image(1, 1, 3), {{}}};
  image.photo.pixels = {200, 10, 50};
  AugmentParams params = Whole(image);
  params.gain = {1.5f, 2, 0.5f};
  params.offset = {3, -30, 1};
  EXPECT_THAT(Apply(image, params, {1, 2, 3}).data,
              ElementsAre(50 * 0.5f + 1 - 1, 10 * 2 - 30 - 2, 200 * 1.5f + 3 - 3));
}

struct Symmetry {
  bool flip_x, flip_y, turn;
  std::vector<int> expected;
};

// The 3 x 2 photograph 1 2 3 / 4 5 6 under each of the eight symmetries.
TEST(Augment, MirrorsFirstThenTurnsClockwise) {
  const TrainingImage image = Gray(3, 2, {1, 2, 3, 4, 5, 6}, {{2}, {3}});
  const std::vector<Symmetry> cases = {
      {false, false, false, {1, 2, 3, 4, 5, 6}}, {true, false, false, {3, 2, 1, 6, 5, 4}},
      {false, true, false, {4, 5, 6, 1, 2, 3}},  {true, true, false, {6, 5, 4, 3, 2, 1}},
      {false, false, true, {4, 1, 5, 2, 6, 3}},  {true, false, true, {6, 3, 5, 2, 4, 1}},
      {false, true, true, {1, 4, 2, 5, 3, 6}},   {true, true, true, {3, 6, 2, 5, 1, 4}}};
  for (const Symmetry& s : cases) {
    AugmentParams params;
    params.width = s.turn ? 2 : 3;
    params.height = s.turn ? 3 : 2;
    params.flip_x = s.flip_x;
    params.flip_y = s.flip_y;
    params.turn = s.turn;
    const Crop crop = Apply(image, params);
    for (int i = 0; i < 6; ++i) {
      EXPECT_EQ(crop.data[i], s.expected[i]) << s.flip_x << s.flip_y << s.turn << " at " << i;
      EXPECT_EQ(crop.label[i], s.expected[i] == 3) << s.flip_x << s.flip_y << s.turn << " at " << i;
      EXPECT_EQ(crop.label[6 + i], s.expected[i] == 4);
    }
  }
}

TEST(Augment, OutsideOfThePhotographIsBlackWithoutLesions) {
  const TrainingImage image = Gray(2, 2, {1, 2, 3, 4}, {{0, 1, 2, 3}});
  AugmentParams params;
  params.width = 4;
  params.height = 3;
  params.left = -1;
  params.top = 1;
  params.offset = {0.5f, 0.5f, 0.5f};
  const Crop crop = Apply(image, params);
  const std::vector<int> expected = {kPad, 3,    4,    kPad, kPad, kPad,
                                     kPad, kPad, kPad, kPad, kPad, kPad};
  for (int i = 0; i < 12; ++i) {
    EXPECT_EQ(crop.data[i], std::max(expected[i], 0) + 0.5f);
    EXPECT_EQ(crop.label[i], expected[i] != kPad);
  }
}

TEST(Augment, GrowsBilinearlyBetweenPixelCentres) {
  // 2 pixels to 4: centres at -0.25 (held at 0), 0.25, 0.75, 1.25 (held at 1).
  const TrainingImage image = Gray(2, 1, {0, 100}, {{1}});
  AugmentParams params;
  params.width = 4;
  params.height = 2;
  params.scale = 2;
  const Crop crop = Apply(image, params);
  for (int y = 0; y < 2; ++y) {
    EXPECT_THAT(std::vector<float>(crop.data.begin() + 4 * y, crop.data.begin() + 4 * y + 4),
                ElementsAre(0, 25, 75, 100));
    EXPECT_THAT(std::vector<uint8_t>(crop.label.begin() + 4 * y, crop.label.begin() + 4 * y + 4),
                ElementsAre(0, 0, 1, 1));
  }
}

TEST(Augment, ShrinksByArea) {
  // 5 pixels to 4, each of 1.25: the weights are 4/5 1/5 | 3/5 2/5 | 2/5 3/5 | 1/5 4/5.
  const TrainingImage image =
      Gray(5, 5, {0,   50,  100, 150, 200, 0,   50,  100, 150, 200, 0,   50, 100,
                  150, 200, 0,   50,  100, 150, 200, 0,   50,  100, 150, 200},
           {{1, 6, 11, 16, 21}});
  AugmentParams params;
  params.width = 4;
  params.height = 4;
  params.scale = 0.8f;
  const Crop crop = Apply(image, params);
  // Sums of weights that are no binary fractions: rounded to 1e-4 of 200.
  EXPECT_THAT(std::vector<float>(crop.data.begin(), crop.data.begin() + 4),
              Pointwise(FloatNear(1e-3f), {10.0f, 70.0f, 130.0f, 190.0f}));
  EXPECT_THAT(std::vector<uint8_t>(crop.label.begin(), crop.label.begin() + 4),
              ElementsAre(0, 1, 0, 0));
}

// A bright square that is also the lesion: after any transform the label is where it is bright.
TEST(Augment, LabelsFollowThePhotograph) {
  TrainingImage image{Image(60, 44, 3), {{}, {}}};
  for (int y = 15; y < 27; ++y) {
    for (int x = 20; x < 33; ++x) {
      for (int c = 0; c < 3; ++c) image.photo.Row(y)[3 * x + c] = 200;
      image.lesions[1].push_back(y * 60 + x);
    }
  }
  AugmentOptions options;
  options.width = 40;
  options.height = 32;
  options.lesion_share = 1;
  options.gain = options.channel_gain = options.offset = 0;
  for (uint64_t i = 0; i < 300; ++i) {
    Random random(3, i);
    const AugmentParams params = DrawAugmentation(options, image, random);
    const Crop crop = Apply(image, params);
    int lesion = 0;
    for (int p = 0; p < 40 * 32; ++p) {
      const bool bright = crop.data[p] >= 100 - 1e-3f;  // weights of lesion pixels reach 0.5
      const bool doubtful = std::abs(crop.data[p] - 100) < 1e-2f;
      EXPECT_TRUE(doubtful || crop.label[40 * 32 + p] == bright) << "crop " << i << " pixel " << p;
      EXPECT_EQ(crop.label[p], 0);
      lesion += crop.label[40 * 32 + p];
    }
    EXPECT_GT(lesion, 0) << "crop " << i;
  }
}

TEST(DrawAugmentation, IsAFunctionOfItsRandomNumbers) {
  const TrainingImage image = RandomImage(100, 80, 4, 5);
  AugmentOptions options;
  options.width = options.height = 32;
  const auto draw = [&](uint64_t seed, uint64_t stream) {
    Random random(seed, stream);
    const AugmentParams p = DrawAugmentation(options, image, random);
    return std::make_tuple(p.scale, p.left, p.top, p.flip_x, p.flip_y, p.turn, p.gain, p.offset);
  };
  EXPECT_EQ(draw(1, 2), draw(1, 2));
  EXPECT_NE(draw(1, 2), draw(1, 3));
  EXPECT_NE(draw(1, 2), draw(2, 2));
}

TEST(DrawAugmentation, FavoursLesionsByTheAskedShare) {
  // One lesion pixel of a large photograph: a crop that lies anywhere hardly ever has it.
  TrainingImage image{Image(4000, 3000, 3), {{}, {1500 * 4000 + 2000}, {}}};
  AugmentOptions options;
  options.width = 50;
  options.height = 40;
  options.lesion_share = 0.6f;
  constexpr int kDraws = 4000;
  int inside = 0, turned = 0, mirrored = 0;
  for (int i = 0; i < kDraws; ++i) {
    Random random(11, i);
    const AugmentParams p = DrawAugmentation(options, image, random);
    const int width = p.turn ? 40 : 50, height = p.turn ? 50 : 40;
    const int x = static_cast<int>(2000.5 * p.scale), y = static_cast<int>(1500.5 * p.scale);
    inside += x >= p.left && x < p.left + width && y >= p.top && y < p.top + height;
    turned += p.turn;
    mirrored += p.flip_x;
    for (int c = 0; c < 3; ++c) {
      EXPECT_GE(p.gain[c], 0.85f * 0.93f);
      EXPECT_LE(p.gain[c], 1.15f * 1.07f);
      EXPECT_LE(std::abs(p.offset[c]), 4);
    }
  }
  // Five standard deviations of a binomial count, plus the chance hits (below 1e-3 of the draws).
  const double spread = 5 * std::sqrt(kDraws * 0.25);
  EXPECT_NEAR(inside, kDraws * 0.6, spread + 4);
  EXPECT_NEAR(turned, kDraws * 0.5, spread);
  EXPECT_NEAR(mirrored, kDraws * 0.5, spread);
}

TEST(DrawAugmentation, EveryPlaceInsideAndNoneOutside) {
  const TrainingImage image = Gray(12, 9, {});
  AugmentOptions options;
  options.width = 5;
  options.height = 11;  // longer than the photograph: it lies inside the window
  options.scales = {1};
  options.turn = false;
  std::vector<int> lefts(8), tops(3);
  for (int i = 0; i < 1000; ++i) {
    Random random(1, i);
    const AugmentParams p = DrawAugmentation(options, image, random);
    ASSERT_TRUE(p.left >= 0 && p.left <= 7) << p.left;
    ASSERT_TRUE(p.top >= -2 && p.top <= 0) << p.top;
    ++lefts[p.left];
    ++tops[p.top + 2];
  }
  EXPECT_THAT(lefts, testing::Each(testing::Gt(80)));  // 125 expected, deviation 10.5
  EXPECT_THAT(tops, testing::Each(testing::Gt(250)));  // 333 expected, deviation 15
}

TEST(MakeTrainingImage, KeepsThePixelsOfEachMask) {
  Image mask(3, 1, 1), other(3, 1, 1);
  mask.pixels = {255, 0, 255};
  other.pixels = {0, 0, 1};
  const TrainingImage image = MakeTrainingImage(Image(3, 1, 3), {mask, other});
  EXPECT_THAT(image.lesions, ElementsAre(ElementsAre(0, 2), ElementsAre(2)));
  EXPECT_THROW(MakeTrainingImage(Image(3, 2, 3), {mask}), Error);
  EXPECT_THROW(MakeTrainingImage(Image(3, 1, 3), std::vector<Image>(9, mask)), Error);
}

}  // namespace
}  // namespace lseg
