// What a net's input holds of a photograph, on both devices.
#include "lseg/photo_input.h"

#include <gmock/gmock.h>

#include "kernels/runtime/random.h"
#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"

namespace lseg {
namespace {

using testing::HasSubstr;

class PhotoInputTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(PhotoInputTest);

ModelInfo Model() {
  ModelInfo model;
  model.mean_bgr = {16.3f, 56.4f, 116.5f};
  model.scale = 0.017f;
  return model;
}

Image Photo(int width, int height, uint64_t seed) {
  Random random(seed, 1);
  Image photo(width, height, 3);
  for (uint8_t& byte : photo.pixels) byte = static_cast<uint8_t>(random.Below(256));
  return photo;
}

// Two photographs through one input, the first overwritten at once: nothing of it is late.
TEST_P(PhotoInputTest, IsTheValueLessTheMeanTimesTheScale) {
  constexpr int kWidth = 13, kHeight = 7, kPixels = kWidth * kHeight;
  Context context(GetParam(), 2);
  const ModelInfo model = Model();
  PhotoInput input(context, model, kWidth, kHeight);
  ASSERT_EQ(input.Blobs(), (std::vector<TensorDesc>{{Shape{1, 3, kHeight, kWidth}}}));
  for (const uint64_t seed : {1, 2}) {
    Image photo = Photo(kWidth, kHeight, seed);
    const Image original = photo;
    const Memory<float> dst(context, std::vector<float>(3 * kPixels, NAN));
    void* const blobs[] = {dst.data()};
    input.Set(photo);
    input.Queue(context, 0, blobs);
    std::fill(photo.pixels.begin(), photo.pixels.end(), uint8_t{9});
    const std::vector<float> got = dst.Values();
    for (int i = 0; i < kPixels; ++i) {
      for (int c = 0; c < 3; ++c) {  // B G R of R G B
        const float value = original.pixels[3 * i + 2 - c];
        ASSERT_EQ(got[c * kPixels + i], (value - model.mean_bgr[c]) * model.scale) << i << " " << c;
      }
    }
  }
}

TEST_P(PhotoInputTest, RefusesWhatItWasNotMadeFor) {
  Context context(GetParam(), 2);
  PhotoInput input(context, Model(), 13, 7);
  EXPECT_THAT(ErrorOf([&] { input.Set(Photo(7, 13, 1)); }),
              HasSubstr("a photograph of 7x13x3 for an input of 13x7x3"));
  const Memory<float> dst(context, std::vector<float>(3 * 13 * 7));
  void* const blobs[] = {dst.data()};
  EXPECT_THAT(ErrorOf([&] { input.Queue(context, 0, blobs); }), HasSubstr("no photograph"));
}

}  // namespace
}  // namespace lseg
