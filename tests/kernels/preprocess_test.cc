#include "kernels/preprocess.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class PreprocessTest : public DeviceTest {
 protected:
  std::vector<float> RunOp(const PreprocessParams& p, const std::vector<uint8_t>& image,
                           const std::vector<float>& mean_image = {}) {
    Context context(GetParam(), 2);
    const Memory<uint8_t> src(context, image);
    const Memory<float> means(context, mean_image);
    const Memory<float> dst(context, std::vector<float>(p.Dst().Count(), NAN));
    Preprocess(context, p, src.data(), mean_image.empty() ? nullptr : means.data(), dst.data());
    return dst.Values();
  }
};
LSEG_ON_ALL_DEVICES(PreprocessTest);

PreprocessParams Params(int64_t src_height, int64_t src_width) {
  PreprocessParams p;
  p.src_height = p.height = src_height;
  p.src_width = p.width = src_width;
  return p;
}

std::vector<uint8_t> Bytes(const PreprocessParams& p) {
  Random random(5, 6);
  std::vector<uint8_t> bytes(p.batch * p.src_height * p.src_width * 3);
  for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(random.Below(256));
  return bytes;
}

TEST_P(PreprocessTest, ByHand) {
  PreprocessParams p = Params(1, 2);
  p.mean = {1, 2, 3};
  p.scale = 0.5f;
  // R G B = 10 20 30 and 40 50 255, written B, G, R.
  const std::vector<uint8_t> image = {10, 20, 30, 40, 50, 255};
  EXPECT_THAT(RunOp(p, image), ElementsAre(14.5f, 127, 9, 24, 3.5f, 18.5f));
  p.order = {0, 1, 2};
  p.mirror = true;
  EXPECT_THAT(RunOp(p, image), ElementsAre(19.5f, 4.5f, 24, 9, 126, 13.5f));
}

// Bit by bit: the formula's two roundings are what everybody has.
TEST_P(PreprocessTest, AgreesWithTheFormula) {
  struct Case {
    int64_t batch, src_height, src_width, top, left, height, width;
  };
  for (const Case& c : std::vector<Case>{{1, 9, 16, 0, 0, 9, 16},     // in vectors of 4
                                         {2, 11, 600, 2, 4, 7, 588},  // cut, in vectors of 4
                                         {2, 11, 13, 3, 2, 5, 10},    // cut
                                         {1, 6, 300, 1, 1, 5, 299}}) {
    for (const bool mirror : {false, true}) {
      for (const bool with_image : {false, true}) {
        PreprocessParams p = Params(c.src_height, c.src_width);
        p.batch = c.batch;
        p.top = c.top;
        p.left = c.left;
        p.height = c.height;
        p.width = c.width;
        p.mirror = mirror;
        p.mean = {16.309f, 56.4373f, 116.5132f};
        p.scale = 0.017f;
        const std::vector<uint8_t> image = Bytes(p);
        const int64_t plane = c.src_height * c.src_width;
        const std::vector<float> means =
            with_image ? Draw(3, 3 * plane, 0, 200) : std::vector<float>();
        const std::vector<float> dst = RunOp(p, image, means);
        for (int64_t at = 0; at < p.Dst().Count(); ++at) {
          const int64_t x = at % c.width, row = c.top + at / c.width % c.height;
          const int64_t channel = at / c.width / c.height % 3, n = at / c.width / c.height / 3;
          const int64_t column = c.left + (mirror ? c.width - 1 - x : x);
          const float mean =
              with_image ? means[channel * plane + row * c.src_width + column] : p.mean[channel];
          const auto value =
              static_cast<float>(image[(n * plane + row * c.src_width + column) * 3 + 2 - channel]);
          ASSERT_EQ(dst[at], (value - mean) * p.scale) << "element " << at;
        }
      }
    }
  }
}

TEST(PreprocessParamsTest, ImpossibleOnesAreRefused) {
  const auto message = [](auto change) { return RefusalOf(Params(4, 5), change); };
  EXPECT_EQ(message([](PreprocessParams*) {}), "");
  EXPECT_THAT(message([](PreprocessParams* p) { p->batch = 0; }), HasSubstr("0 images"));
  EXPECT_THAT(message([](PreprocessParams* p) { p->left = 1; }),
              HasSubstr("columns 1..6 do not lie in an image of 4x5"));
  EXPECT_THAT(message([](PreprocessParams* p) { p->order[1] = 3; }), HasSubstr("channel 3"));
}

}  // namespace
}  // namespace lseg
