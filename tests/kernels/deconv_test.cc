// Deconvolution against the oracle: group, stride, pad, dilation, batch, modes; and the case that
// L-Seg is made of, bilinear weights from channel to like channel.
#include "kernels/deconv.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"
#include "tests/reference/ops.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A sum of k products in f32, in any order, is off by at most about (k + 1) 2^-24 times the sum of
// their absolute values (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); one
// more for the bias or what is added to.
double Tolerance(int64_t products) { return static_cast<double>(products + 3) * 0x1p-24; }

struct Case {
  DeconvParams params;
  std::string what;
};

// A part of an output: what a crop behind would leave.
DeconvParams Part(DeconvParams p, int64_t top, int64_t left, int64_t rows, int64_t columns) {
  p.pad_h += top;
  p.pad_w += left;
  p.rows = rows;
  p.columns = columns;
  return p;
}

std::vector<Case> Cases() {
  const auto make = [](const char* what, Shape src, int64_t out, std::array<int64_t, 8> geometry,
                       int64_t group, bool bias) {
    const auto& g = geometry;
    return Case{{src, out, g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7], group, bias}, what};
  };
  std::vector<Case> cases = {
      //                                           kernel stride pad dilation
      make("plain", {2, 3, 5, 7}, 2, {3, 3, 1, 1, 0, 0, 1, 1}, 1, true),
      make("upsampling 2", {2, 4, 7, 9}, 4, {4, 4, 2, 2, 0, 0, 1, 1}, 1, true),
      make("upsampling 16", {1, 4, 3, 5}, 4, {32, 32, 16, 16, 0, 0, 1, 1}, 1, true),
      make("padded", {2, 5, 6, 5}, 3, {4, 4, 2, 2, 1, 1, 1, 1}, 1, false),
      make("grouped", {2, 6, 5, 4}, 4, {3, 5, 2, 3, 1, 2, 1, 1}, 2, true),
      make("depthwise", {1, 5, 4, 6}, 5, {4, 4, 2, 2, 0, 1, 1, 1}, 5, false),
      make("dilated", {2, 3, 6, 7}, 2, {3, 3, 2, 3, 2, 1, 2, 2}, 1, true),
      make("dilated, common divisor", {1, 2, 5, 6}, 3, {3, 3, 4, 4, 0, 3, 2, 6}, 1, true),
      make("kernel below stride", {1, 2, 4, 5}, 2, {1, 2, 3, 5, 0, 0, 1, 1}, 1, true),
      make("1x1", {1, 6, 4, 5}, 9, {1, 1, 1, 1, 0, 0, 1, 1}, 3, true),
      make("a row longer than a piece", {1, 6, 2, 300}, 1, {3, 3, 2, 2, 1, 1, 1, 1}, 1, true),
  };
  // Wholes of 16x20, 64x96, 14x12 (padded by 1 on each side).
  cases.push_back({Part(cases[1].params, 1, 1, 13, 19), "upsampling 2, a part up to the end"});
  cases.push_back({Part(cases[2].params, 8, 24, 37, 41), "upsampling 16, a part"});
  cases.push_back({Part(cases[3].params, 2, 0, 11, 5), "padded, a part beyond the pad at the end"});
  return cases;
}

struct Data {
  explicit Data(const DeconvParams& p)
      : src(Draw(1, p.src.Count())),
        weight(Draw(2, p.Weight().Count())),
        bias(p.bias ? Draw(3, p.out_channels) : std::vector<float>()),
        d_dst(Draw(4, p.Dst().Count())) {}
  std::vector<float> src, weight, bias, d_dst;
};

class DeconvTest : public DeviceTest {
 protected:
  std::vector<float> RunForward(const DeconvParams& p, const Data& data, int threads = 2) {
    Context context(GetParam(), threads);
    const Memory<float> src(context, data.src), weight(context, data.weight);
    const Memory<float> bias(context, data.bias);
    const Memory<float> dst(context, std::vector<float>(p.Dst().Count(), NAN));
    DeconvForward(context, p, src.data(), weight.data(), p.bias ? bias.data() : nullptr,
                  dst.data());
    return dst.Values();
  }

  // Written and added, against the oracle.
  void ExpectBackwardData(const DeconvParams& p, const Data& data, double tolerance,
                          const std::string& what) {
    const reference::Sums expected = reference::DeconvBackwardData(p, data.d_dst, data.weight);
    for (const bool add : {false, true}) {
      Context context(GetParam());
      const std::vector<float> before = Before(add, 5, p.src.Count());
      const Memory<float> d_dst(context, data.d_dst), factors(context, data.weight);
      const Memory<float> d_src(context, before);
      DeconvBackwardData(context, p, d_dst.data(), factors.data(), d_src.data(),
                         add ? GradMode::kAdd : GradMode::kWrite);
      ExpectNear(d_src.Values(), add ? Add(expected.value, before) : expected.value, expected.scale,
                 tolerance, 1, what);
    }
  }
};
LSEG_ON_ALL_DEVICES(DeconvTest);

TEST_P(DeconvTest, ByHand) {
  // One row: 2 and 3 upsampled by 2 with the weights 1 10 100: 2 20 200+3 30 300.
  DeconvParams p;
  p.src = {1, 1, 1, 2};
  p.out_channels = 1;
  p.kernel_w = 3;
  p.stride_w = 2;
  EXPECT_EQ(p.Dst(), (Shape{1, 1, 1, 5}));
  Data data(p);
  data.src = {2, 3};
  data.weight = {1, 10, 100};
  data.bias = {1000};
  EXPECT_THAT(RunForward(p, data), ElementsAre(1002, 1020, 1203, 1030, 1300));
}

TEST_P(DeconvTest, ForwardAgreesWithTheOracle) {
  for (const auto& [p, what] : Cases()) {
    const Data data(p);
    const reference::Sums expected = reference::DeconvForward(p, data.src, data.weight, data.bias);
    ExpectNear(RunForward(p, data), expected.value, expected.scale,
               Tolerance(p.src.c * p.kernel_h * p.kernel_w), 0, what);
  }
}

TEST_P(DeconvTest, BackwardDataAgreesWithTheOracle) {
  for (const auto& [p, what] : Cases()) {
    ExpectBackwardData(p, Data(p), Tolerance(p.out_channels * p.kernel_h * p.kernel_w), what);
  }
}

TEST_P(DeconvTest, BackwardWeightsAgreesWithTheOracle) {
  for (const auto& [p, what] : Cases()) {
    const Data data(p);
    const reference::Sums weight = reference::DeconvBackwardWeight(p, data.src, data.d_dst);
    const reference::Sums bias = reference::DeconvBackwardBias(p, data.d_dst);
    for (const bool add : {false, true}) {
      Context context(GetParam());
      const GradMode mode = add ? GradMode::kAdd : GradMode::kWrite;
      const std::vector<float> weight_before = Before(add, 5, p.Weight().Count());
      const std::vector<float> bias_before = Before(add, 6, p.out_channels);
      const Memory<float> src(context, data.src), d_dst(context, data.d_dst);
      const Memory<float> d_weight(context, weight_before), d_bias(context, bias_before);
      DeconvBackwardWeights(context, p, src.data(), d_dst.data(), d_weight.data(), mode,
                            p.bias ? d_bias.data() : nullptr, p.bias ? mode : GradMode::kSkip);
      // Summed in double: one rounding, and one of the addition.
      ExpectNear(d_weight.Values(), add ? Add(weight.value, weight_before) : weight.value,
                 weight.scale, 0x1p-23, 1, what);
      if (!p.bias) continue;
      ExpectNear(d_bias.Values(), add ? Add(bias.value, bias_before) : bias.value, bias.scale,
                 0x1p-23, 1, what);
    }
  }
}

TEST_P(DeconvTest, SkippedGradientsAreNotTouched) {
  const DeconvParams p = Cases()[1].params;
  const Data data(p);
  Context context(GetParam());
  const Memory<float> src(context, data.src), d_dst(context, data.d_dst);
  DeconvBackwardData(context, p, d_dst.data(), nullptr, nullptr, GradMode::kSkip);
  DeconvBackwardWeights(context, p, src.data(), d_dst.data(), nullptr, GradMode::kSkip, nullptr,
                        GradMode::kSkip);
  const Memory<float> d_bias(context, std::vector<float>(4, NAN));
  DeconvBackwardWeights(context, p, src.data(), d_dst.data(), nullptr, GradMode::kSkip,
                        d_bias.data(), GradMode::kWrite);
  for (const float value : d_bias.Values()) EXPECT_FALSE(std::isnan(value));
}

// Bilinear weights from channel i to channel i, 0 elsewhere: interpolation. A source that is linear
// in x and y comes back linear, away from the border, at the positions of the upsampled pixels:
// output y lies at (y - (kernel - 1) / 2) / stride of the source.
TEST_P(DeconvTest, BilinearWeightsInterpolateEachChannelByItself) {
  for (const int64_t stride : {2, 4, 8, 16}) {
    DeconvParams p;
    p.src = {2, 4, 5, 6};
    p.out_channels = 4;
    p.kernel_h = p.kernel_w = 2 * stride;
    p.stride_h = p.stride_w = stride;
    Data data(p);
    data.bias.assign(4, 0);
    const auto plane = [](int64_t n, int64_t c, double y, double x) {
      return 3.0 * static_cast<double>(n) + 2.0 * static_cast<double>(c) + (c % 2 ? y : -x);
    };
    for (int64_t at = 0; at < p.src.Count(); ++at) {
      data.src[at] = static_cast<float>(plane(at / 120, at / 30 % 4, at / 6 % 5, at % 6));
    }
    const double middle = static_cast<double>(2 * stride - 1) / 2;
    for (int64_t at = 0; at < p.Weight().Count(); ++at) {
      const int64_t tap = at % (p.kernel_h * p.kernel_w), pair = at / (p.kernel_h * p.kernel_w);
      const double y = std::fabs(tap / p.kernel_w - middle) / stride;
      const double x = std::fabs(tap % p.kernel_w - middle) / stride;
      data.weight[at] = static_cast<float>(pair % 5 == 0 ? (1 - y) * (1 - x) : 0);
    }
    const std::vector<float> dst = RunForward(p, data);
    const Shape out = p.Dst();
    for (int64_t at = 0; at < out.Count(); ++at) {
      const int64_t y = at / out.w % out.h, x = at % out.w;
      if (y < stride || y >= out.h - stride || x < stride || x >= out.w - stride) continue;
      const int64_t channel = at / (out.h * out.w);
      // Four products of numbers up to 15.
      ASSERT_NEAR(dst[at],
                  plane(channel / 4, channel % 4, (static_cast<double>(y) - middle) / stride,
                        (static_cast<double>(x) - middle) / stride),
                  1e-5)
          << "stride " << stride << ", element " << at;
    }
  }
}

TEST_P(DeconvTest, AZeroWeightDoesNotHideANaN) {
  DeconvParams p;
  p.src = {1, 2, 3, 3};
  p.out_channels = 2;
  p.kernel_h = p.kernel_w = 4;
  p.stride_h = p.stride_w = 2;
  Data data(p);
  for (size_t i = 0; i < data.weight.size(); ++i) data.weight[i] = i / 16 % 3 == 0;  // diagonal
  data.src[4] = NAN;  // channel 0, in the middle
  const std::vector<float> dst = RunForward(p, data);
  EXPECT_TRUE(std::isnan(dst[64 + 3 * 8 + 3])) << "channel 1 sums 0 * NaN";
  EXPECT_FALSE(std::isnan(dst[0]));
}

TEST_P(DeconvTest, TheSameBitsForAnyNumberOfThreads) {
  for (const auto& [p, what] : Cases()) {
    const Data data(p);
    EXPECT_EQ(RunForward(p, data, 1), RunForward(p, data, 3)) << what;
  }
}

TEST_P(DeconvTest, ImpossibleCasesAreRefused) {
  const auto message = [](auto change) { return RefusalOf(Cases()[1].params, change); };
  EXPECT_THAT(message([](DeconvParams* p) { p->group = 3; }), HasSubstr("group 3 must divide"));
  EXPECT_THAT(message([](DeconvParams* p) { p->stride_w = 0; }), HasSubstr("stride 2x0"));
  EXPECT_THAT(message([](DeconvParams* p) { p->pad_h = -1; }), HasSubstr("pad -1x0"));
  EXPECT_THAT(message([](DeconvParams* p) { p->pad_h = 8; }), HasSubstr("leaves nothing"));
  EXPECT_THAT(message([](DeconvParams* p) { p->src.h = 0; }), HasSubstr("is empty"));
  EXPECT_THAT(message([](DeconvParams* p) { p->rows = 17; }),
              HasSubstr("17x20 from 0,0 on are no part of the whole output of 16x20"));
  const DeconvParams p = Cases()[1].params;
  const Data data(p);
  std::vector<float> dst(p.Dst().Count());
  Context context(GetParam());
  EXPECT_THROW(DeconvForward(context, p, data.src.data(), data.weight.data(), nullptr, dst.data()),
               Error);
}

// Taps that are products, of each channel its own, and weights that are nearly that: whichever way
// the gradient is computed, it is the oracle's.
TEST_P(DeconvTest, BackwardDataOfSeparableAndNearlySeparableWeights) {
  std::vector<Case> cases;
  for (const int64_t stride : {1, 2, 3, 16}) {
    for (const int64_t more : {-1, 0, 1}) {  // columns of the kernel than twice the stride
      DeconvParams p;
      p.src = {2, 3, 5, 7};
      p.out_channels = 3;
      p.kernel_h = 2 * stride;
      p.kernel_w = 2 * stride + more;
      p.stride_h = p.stride_w = stride;
      const std::string what =
          "stride " + std::to_string(stride) + ", " + std::to_string(p.kernel_w) + " columns";
      cases.push_back({p, what});
      p.pad_h = stride;
      p.pad_w = stride - 1;
      cases.push_back({Part(p, 1, 0, 4 * stride, 6 * stride - 1), what + ", a part"});
    }
  }
  // More columns than one piece of the sums takes, of which 16 bytes are whole words or not; many
  // rows; each channel a group of its own.
  const auto like = [](Shape src, int64_t stride) {
    DeconvParams p;
    p.src = src;
    p.out_channels = src.c;
    p.kernel_h = p.kernel_w = 2 * stride;
    p.stride_h = p.stride_w = stride;
    return p;
  };
  cases.push_back({like({1, 1, 2, 700}, 16), "wide"});
  cases.push_back({like({1, 2, 21, 300}, 2), "wide and high, odd"});
  cases.push_back({Part(like({1, 2, 21, 301}, 2), 1, 1, 41, 600), "wide and high, even"});
  DeconvParams grouped = like({2, 3, 9, 6}, 4);
  grouped.group = 3;
  cases.push_back({grouped, "depthwise"});
  for (const auto& [p, what] : cases) {
    Data data(p);
    const int64_t size = p.kernel_h * p.kernel_w;
    const int64_t outputs = p.out_channels / p.group;  // of a group
    for (int64_t at = 0; at < p.Weight().Count(); ++at) {
      const int64_t pair = at / size, y = at % size / p.kernel_w, x = at % p.kernel_w;
      const int64_t channel = pair / outputs;
      const bool own = channel % outputs == pair % outputs;
      data.weight[at] =
          own ? (0.3f + 0.7f * static_cast<float>(y + channel)) * (static_cast<float>(x % 5) - 1.5f)
              : 0.0f;
    }
    // As they are; one tap off by 1e-4 of it; a weight between two channels.
    for (const int change : {0, 1, 2}) {
      if (change == 2 && outputs == 1) continue;
      const int64_t at = change == 1 ? size - 1 : size;
      const float kept = data.weight[at];
      if (change == 1) data.weight[at] *= 1.0001f;
      if (change == 2) data.weight[at] = 0.25f;
      // The taps' product is within 2^-22 of a weight: four roundings more.
      ExpectBackwardData(p, data, Tolerance(outputs * size) + 0x1p-22,
                         what + ", change " + std::to_string(change));
      data.weight[at] = kept;
    }
  }
}

}  // namespace
}  // namespace lseg
