#include "kernels/elementwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Longer than what one thread takes, and no multiple of a vector.
constexpr int64_t kCount = 40'003;

TEST(ReluTest, ForwardAndBackward) {
  for (const float slope : {0.0f, 0.25f}) {
    Context context;
    const std::vector<float> src = Draw(1, kCount);
    std::vector<float> dst(kCount, NAN);
    ReluForward(context, kCount, slope, src.data(), dst.data());
    for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(dst[i], src[i] > 0 ? src[i] : slope * src[i]);

    const std::vector<float> d_dst = Draw(2, kCount);
    for (const bool add : {false, true}) {
      const std::vector<float> before = Before(add, 3, kCount);
      std::vector<float> d_src = before;
      ReluBackward(context, kCount, slope, dst.data(), d_dst.data(), d_src.data(),
                   add ? GradMode::kAdd : GradMode::kWrite);
      for (int64_t i = 0; i < kCount; ++i) {
        const float gradient = src[i] > 0 ? d_dst[i] : slope * d_dst[i];
        // The slope is a power of two: only the addition rounds.
        ASSERT_EQ(d_src[i], add ? before[i] + gradient : gradient);
      }
    }
    ReluBackward(context, kCount, slope, dst.data(), d_dst.data(), nullptr, GradMode::kSkip);
  }
}

TEST(ReluTest, InPlace) {
  Context context;
  const std::vector<float> src = Draw(1, kCount);
  std::vector<float> data = src, gradient = Draw(2, kCount);
  const std::vector<float> d_dst = gradient;
  ReluForward(context, kCount, 0, data.data(), data.data());
  ReluBackward(context, kCount, 0, data.data(), gradient.data(), gradient.data(), GradMode::kWrite);
  for (int64_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(data[i], std::max(src[i], 0.0f));
    ASSERT_EQ(gradient[i], src[i] > 0 ? d_dst[i] : 0);
  }
}

TEST(ReluTest, SpecialNumbers) {
  Context context;
  const std::vector<float> src = {0.0f, -kInfinity, kInfinity, NAN, -1e-45f};
  std::vector<float> dst(5);
  ReluForward(context, 5, 0, src.data(), dst.data());
  EXPECT_EQ(dst[0], 0);
  EXPECT_EQ(dst[1], 0);
  EXPECT_EQ(dst[2], kInfinity);
  EXPECT_TRUE(std::isnan(dst[3])) << "a NaN must be seen downstream";
  EXPECT_EQ(dst[4], 0);
  // The gradient at 0 is that of the negative side.
  const std::vector<float> ones(5, 1);
  std::vector<float> d_src(5);
  ReluBackward(context, 5, 0, dst.data(), ones.data(), d_src.data(), GradMode::kWrite);
  EXPECT_EQ(d_src[0], 0);
  EXPECT_EQ(d_src[2], 1);
  EXPECT_THROW(ReluForward(context, 5, -0.1f, src.data(), dst.data()), Error);
  EXPECT_THROW(ReluForward(context, -1, 0, src.data(), dst.data()), Error);
  ReluForward(context, 0, 0, nullptr, nullptr);
}

// Distance in units of the last place of the expected value, which at 2^e are 2^(e - 23).
double UlpsOff(float actual, double expected) {
  int exponent;
  std::frexp(expected, &exponent);
  return std::fabs(actual - expected) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

TEST(SigmoidTest, WithinTwoUlpsEverywhere) {
  Context context;
  std::vector<float> src;
  for (double z = -110; z <= 110; z += 0.00371) src.push_back(static_cast<float>(z));
  for (float z = 1e-38f; z < 1; z *= 1.37f) {
    src.push_back(z);
    src.push_back(-z);
  }
  std::vector<float> dst(src.size());
  SigmoidForward(context, src.size(), src.data(), dst.data());
  for (size_t i = 0; i < src.size(); ++i) {
    const double z = src[i];
    const double expected = z < 0 ? std::exp(z) / (1 + std::exp(z)) : 1 / (1 + std::exp(-z));
    ASSERT_LE(UlpsOff(dst[i], expected), 2) << "sigmoid(" << z << ")";
  }
}

TEST(SigmoidTest, SpecialNumbers) {
  Context context;
  const std::vector<float> src = {0, -0.0f, kInfinity, -kInfinity, 3.4e38f, -3.4e38f, NAN};
  std::vector<float> dst(src.size());
  SigmoidForward(context, src.size(), src.data(), dst.data());
  EXPECT_THAT(std::vector<float>(dst.begin(), dst.end() - 1),
              testing::ElementsAre(0.5f, 0.5f, 1, 0, 1, 0));
  EXPECT_TRUE(std::isnan(dst.back()));
}

TEST(SigmoidTest, Backward) {
  Context context;
  const std::vector<float> dst = Draw(1, kCount, 0, 1), d_dst = Draw(2, kCount);
  std::vector<double> expected;
  for (int64_t i = 0; i < kCount; ++i) {
    expected.push_back(double{d_dst[i]} * dst[i] * (1 - double{dst[i]}));
  }
  for (const bool add : {false, true}) {
    const std::vector<float> before = Before(add, 3, kCount);
    std::vector<float> d_src = before;
    SigmoidBackward(context, kCount, dst.data(), d_dst.data(), d_src.data(),
                    add ? GradMode::kAdd : GradMode::kWrite);
    // Three roundings, and one of the addition, of numbers below 2.
    ExpectNear(d_src, add ? Add(expected, before) : expected, 3e-7, 1, "sigmoid");
  }
  SigmoidBackward(context, kCount, dst.data(), d_dst.data(), nullptr, GradMode::kSkip);
  std::vector<float> in_place = d_dst;
  SigmoidBackward(context, kCount, dst.data(), in_place.data(), in_place.data(), GradMode::kWrite);
  ExpectNear(in_place, expected, 3e-7, 1, "in place");
}

}  // namespace
}  // namespace lseg
