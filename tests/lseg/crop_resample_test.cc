// The crop op on every device against lseg/augment.h, which goes by rows where this goes by pixels.
#include "kernels/crop_resample.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/label.h"
#include "lseg/augment.h"
#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::HasSubstr;

class CropResampleTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(CropResampleTest);

constexpr std::array<float, 3> kMean = {16.3f, 56.4f, 116.5f};  // B G R

// A photograph of random bytes, and three classes of random blocks that overlap.
TrainingImage MakeImage(int width, int height) {
  Random random(11, width);
  Image photo(width, height, 3);
  for (uint8_t& byte : photo.pixels) byte = static_cast<uint8_t>(random.Below(256));
  std::vector<Image> masks;
  for (int c = 0; c < 3; ++c) {
    Image& mask = masks.emplace_back(width, height, 1);
    for (int block = 0; block < 12; ++block) {
      const int x0 = static_cast<int>(random.Below(width)),
                y0 = static_cast<int>(random.Below(height));
      const int size = 1 + static_cast<int>(random.Below(6));
      for (int y = y0; y < std::min(y0 + size, height); ++y) {
        for (int x = x0; x < std::min(x0 + size, width); ++x) mask.Row(y)[x] = 1;
      }
    }
  }
  return MakeTrainingImage(std::move(photo), masks);
}

void ExpectSameCrop(Device device, const TrainingImage& image, const AugmentParams& a,
                    const std::string& what) {
  const int64_t plane = int64_t{a.width} * a.height;
  std::vector<float> data(3 * plane);
  std::vector<uint8_t> label(3 * plane);
  Augment(image, a, kMean, data.data(), label.data());

  Context context(device, 2);
  const Memory<uint8_t> src(context, image.photo.pixels), bits(context, ClassBits(image));
  const Memory<float> to_data(context, std::vector<float>(3 * plane, NAN));
  const Memory<uint8_t> to_label(context, std::vector<uint8_t>(3 * plane, 7));
  CropResample(context, ToCropResample(image, a, kMean), src.data(), bits.data(), to_data.data(),
               to_label.data());
  EXPECT_EQ(to_label.Values(), label) << what;
  // Sums of a few products of numbers up to 255 * gain, each rounded once more or less.
  ExpectNear(to_data.Values(), {data.begin(), data.end()}, std::vector<double>(3 * plane, 300),
             4e-7, 0, what);
}

TEST_P(CropResampleTest, DrawnCropsAreThoseOfTheRowwiseCode) {
  const TrainingImage image = MakeImage(61, 47);
  AugmentOptions options;
  options.width = 40;
  options.height = 28;
  options.scales = {0.5f, 0.8f, 1.0f, 1.25f};
  Random random(3, 4);
  for (int crop = 0; crop < 16; ++crop) {
    const AugmentParams drawn = DrawAugmentation(options, image, random);
    ExpectSameCrop(GetParam(), image, drawn, "crop " + std::to_string(crop));
  }
}

TEST_P(CropResampleTest, AClassThatIsNotAnnotatedIsMarkedThroughout) {
  TrainingImage image = MakeImage(20, 16);
  image.left_out = 1 << 1;
  AugmentParams params;
  params.width = 26;
  params.height = 18;
  params.left = params.top = -3;
  params.turn = true;
  std::vector<float> data(3 * 26 * 18);
  std::vector<uint8_t> label(data.size());
  Augment(image, params, kMean, data.data(), label.data());
  for (size_t i = 0; i < label.size(); ++i) {
    EXPECT_EQ(label[i] == kNotAnnotated, i / (26 * 18) == 1) << i;
  }
  ExpectSameCrop(GetParam(), image, params, "left out");
}

TEST_P(CropResampleTest, AWindowBeyondThePhotographIsBlackThere) {
  const TrainingImage image = MakeImage(20, 16);
  for (const float scale : {0.3f, 1.0f, 1.7f}) {
    AugmentParams params;
    params.width = 50;
    params.height = 40;
    params.scale = scale;
    params.left = -7;
    params.top = -5;
    params.flip_x = params.turn = scale != 1.0f;
    params.gain = {1.1f, 0.9f, 1};
    params.offset = {3, -2, 1};
    ExpectSameCrop(GetParam(), image, params, "scale " + std::to_string(scale));
  }
}

TEST_P(CropResampleTest, APhotographOfOnePixelAxes) {
  for (const auto& [width, height] : {std::pair{1, 9}, std::pair{9, 1}}) {
    const TrainingImage image = MakeImage(width, height);
    AugmentParams params;
    params.width = params.height = 12;
    params.scale = 1.5f;
    ExpectSameCrop(GetParam(), image, params, std::to_string(width));
  }
}

TEST(CropResampleParamsTest, ImpossibleOnesAreRefused) {
  const auto message = [](auto change) {
    CropResampleParams p;
    p.src_height = p.src_width = p.scaled_height = p.scaled_width = p.height = p.width = 4;
    return RefusalOf(p, change);
  };
  EXPECT_EQ(message([](CropResampleParams*) {}), "");
  EXPECT_THAT(message([](CropResampleParams* p) { p->classes = 9; }), HasSubstr("9 classes"));
  EXPECT_THAT(message([](CropResampleParams* p) { p->scaled_width = 0; }), HasSubstr("is empty"));
  EXPECT_THAT(message([](CropResampleParams* p) { p->width = 0; }), HasSubstr("4x0 is empty"));
}

}  // namespace
}  // namespace lseg
