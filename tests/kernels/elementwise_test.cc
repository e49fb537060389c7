#include "kernels/elementwise.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

class ReluTest : public DeviceTest {};
class SigmoidTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(ReluTest);
class WeightedSumTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(SigmoidTest);
LSEG_ON_ALL_DEVICES(WeightedSumTest);

// Longer than what one thread takes, and no multiple of a vector.
constexpr int64_t kCount = 40'003;

TEST_P(ReluTest, ForwardAndBackward) {
  for (const float slope : {0.0f, 0.25f}) {
    Context context(GetParam());
    const std::vector<float> src = Draw(1, kCount), d_dst = Draw(2, kCount);
    const Memory<float> from(context, src), gradient(context, d_dst);
    const Memory<float> to(context, std::vector<float>(kCount, NAN));
    ReluForward(context, kCount, slope, from.data(), to.data());
    const std::vector<float> dst = to.Values();
    for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(dst[i], src[i] > 0 ? src[i] : slope * src[i]);

    for (const bool add : {false, true}) {
      const std::vector<float> before = Before(add, 3, kCount);
      const Memory<float> result(context, before);
      ReluBackward(context, kCount, slope, to.data(), gradient.data(), result.data(),
                   add ? GradMode::kAdd : GradMode::kWrite);
      const std::vector<float> d_src = result.Values();
      for (int64_t i = 0; i < kCount; ++i) {
        const float wanted = src[i] > 0 ? d_dst[i] : slope * d_dst[i];
        // The slope is a power of two: only the addition rounds.
        ASSERT_EQ(d_src[i], add ? before[i] + wanted : wanted);
      }
    }
    ReluBackward(context, kCount, slope, to.data(), gradient.data(), nullptr, GradMode::kSkip);
  }
}

TEST_P(ReluTest, InPlace) {
  Context context(GetParam());
  const std::vector<float> src = Draw(1, kCount), d_dst = Draw(2, kCount);
  const Memory<float> data(context, src), gradient(context, d_dst);
  ReluForward(context, kCount, 0, data.data(), data.data());
  ReluBackward(context, kCount, 0, data.data(), gradient.data(), gradient.data(), GradMode::kWrite);
  const std::vector<float> dst = data.Values(), d_src = gradient.Values();
  for (int64_t i = 0; i < kCount; ++i) {
    ASSERT_EQ(dst[i], std::max(src[i], 0.0f));
    ASSERT_EQ(d_src[i], src[i] > 0 ? d_dst[i] : 0);
  }
}

// Vectors need aligned memory; any other is served too.
TEST_P(ReluTest, UnalignedMemory) {
  Context context(GetParam());
  const std::vector<float> src = Draw(1, 1000);
  const Memory<float> from(context, src), to(context, std::vector<float>(1000, NAN));
  ReluForward(context, 997, 0, from.data() + 3, to.data() + 1);
  const std::vector<float> dst = to.Values();
  for (int64_t i = 0; i < 997; ++i) ASSERT_EQ(dst[i + 1], std::max(src[i + 3], 0.0f));
  EXPECT_TRUE(std::isnan(dst[0]) && std::isnan(dst[998])) << "written beside the elements";
}

TEST_P(ReluTest, SpecialNumbers) {
  Context context(GetParam());
  const Memory<float> src(context, {0.0f, -kInfinity, kInfinity, NAN, -1e-45f});
  const Memory<float> to(context, std::vector<float>(5));
  ReluForward(context, 5, 0, src.data(), to.data());
  const std::vector<float> dst = to.Values();
  EXPECT_EQ(dst[0], 0);
  EXPECT_EQ(dst[1], 0);
  EXPECT_EQ(dst[2], kInfinity);
  EXPECT_TRUE(std::isnan(dst[3])) << "a NaN must be seen downstream";
  EXPECT_EQ(dst[4], 0);
  // The gradient at 0 is that of the negative side.
  const Memory<float> ones(context, std::vector<float>(5, 1)), d_src(context, {7, 7, 7, 7, 7});
  ReluBackward(context, 5, 0, to.data(), ones.data(), d_src.data(), GradMode::kWrite);
  EXPECT_EQ(d_src.Values()[0], 0);
  EXPECT_EQ(d_src.Values()[2], 1);
  EXPECT_THROW(ReluForward(context, 5, -0.1f, src.data(), to.data()), Error);
  EXPECT_THROW(ReluForward(context, -1, 0, src.data(), to.data()), Error);
  ReluForward(context, 0, 0, nullptr, nullptr);
}

TEST_P(ReluTest, ASlopeInBf16) {
  Context context(GetParam());
  const std::vector<float> src = Rounded(Draw(1, kCount), DType::kBF16);
  const TypedMemory from(context, DType::kBF16, src);
  const TypedMemory to(context, DType::kBF16, std::vector<float>(kCount, NAN));
  ReluForward(context, kCount, 0.3f, from.data(), to.data(), DType::kBF16);
  const std::vector<float> dst = to.Values();
  ReluBackward(context, kCount, 0.3f, to.data(), from.data(), from.data(), GradMode::kWrite,
               DType::kBF16);
  const std::vector<float> d_src = from.Values();
  for (int64_t i = 0; i < kCount; ++i) {
    const float wanted = Rounded(src[i] > 0 ? src[i] : 0.3f * src[i], DType::kBF16);
    ASSERT_EQ(dst[i], wanted);
    ASSERT_EQ(d_src[i], wanted);  // the gradient of dst being src
  }
}

TEST_P(ReluTest, HalfPrecision) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    Context context(GetParam());
    const std::vector<float> src = Rounded(Draw(1, kCount), dtype);
    const std::vector<float> d_dst = Rounded(Draw(2, kCount), dtype);
    const TypedMemory from(context, dtype, src), gradient(context, dtype, d_dst);
    const TypedMemory to(context, dtype, std::vector<float>(kCount, NAN));
    if (GetParam() == Device::kCpu && dtype == DType::kF16) {
      EXPECT_THROW(ReluForward(context, kCount, 0, from.data(), to.data(), dtype), Error);
      continue;
    }
    ReluForward(context, kCount, 0, from.data(), to.data(), dtype);
    const std::vector<float> dst = to.Values();
    for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(dst[i], std::max(src[i], 0.0f));
    for (const bool add : {false, true}) {
      const std::vector<float> before = Rounded(Before(add, 3, kCount), dtype);
      const TypedMemory result(context, dtype, before);
      ReluBackward(context, kCount, 0, to.data(), gradient.data(), result.data(),
                   add ? GradMode::kAdd : GradMode::kWrite, dtype);
      const std::vector<float> d_src = result.Values();
      for (int64_t i = 0; i < kCount; ++i) {
        const float wanted = src[i] > 0 ? d_dst[i] : 0.0f;
        ASSERT_EQ(d_src[i], Rounded(add ? before[i] + wanted : wanted, dtype));
      }
    }
  }
}

// Distance in units of the last place of the expected value, which at 2^e are 2^(e - 23).
double UlpsOff(float actual, double expected) {
  int exponent;
  std::frexp(expected, &exponent);
  return std::fabs(actual - expected) / std::ldexp(1.0, std::max(exponent - 24, -149));
}

// Of the exponential 1 ulp on the CPU and 2 on a GPU (CUDA's bound of expf), of the sum and the
// quotient half a one each.
TEST_P(SigmoidTest, WithinTwoUlpsEverywhereOnAGpuThree) {
  const double bound = GetParam() == Device::kCpu ? 2 : 3;
  Context context(GetParam());
  std::vector<float> src;
  for (double z = -110; z <= 110; z += 0.00371) src.push_back(static_cast<float>(z));
  for (float z = 1e-38f; z < 1; z *= 1.37f) {
    src.push_back(z);
    src.push_back(-z);
  }
  const Memory<float> from(context, src), to(context, std::vector<float>(src.size()));
  SigmoidForward(context, src.size(), from.data(), to.data());
  const std::vector<float> dst = to.Values();
  for (size_t i = 0; i < src.size(); ++i) {
    const double z = src[i];
    const double expected = z < 0 ? std::exp(z) / (1 + std::exp(z)) : 1 / (1 + std::exp(-z));
    ASSERT_LE(UlpsOff(dst[i], expected), bound) << "sigmoid(" << z << ")";
  }
}

TEST_P(SigmoidTest, SpecialNumbers) {
  Context context(GetParam());
  const std::vector<float> src = {0, -0.0f, kInfinity, -kInfinity, 3.4e38f, -3.4e38f, NAN};
  const Memory<float> from(context, src), to(context, std::vector<float>(src.size()));
  SigmoidForward(context, src.size(), from.data(), to.data());
  const std::vector<float> dst = to.Values();
  EXPECT_THAT(std::vector<float>(dst.begin(), dst.end() - 1),
              testing::ElementsAre(0.5f, 0.5f, 1, 0, 1, 0));
  EXPECT_TRUE(std::isnan(dst.back()));
}

TEST_P(SigmoidTest, Backward) {
  Context context(GetParam());
  const std::vector<float> dst = Draw(1, kCount, 0, 1), d_dst = Draw(2, kCount);
  const Memory<float> y(context, dst), from(context, d_dst);
  std::vector<double> expected;
  for (int64_t i = 0; i < kCount; ++i) {
    expected.push_back(double{d_dst[i]} * dst[i] * (1 - double{dst[i]}));
  }
  for (const bool add : {false, true}) {
    const std::vector<float> before = Before(add, 3, kCount);
    const Memory<float> d_src(context, before);
    SigmoidBackward(context, kCount, y.data(), from.data(), d_src.data(),
                    add ? GradMode::kAdd : GradMode::kWrite);
    // Three roundings, and one of the addition, of numbers below 2.
    ExpectNear(d_src.Values(), add ? Add(expected, before) : expected, 3e-7, 1, "sigmoid");
  }
  SigmoidBackward(context, kCount, y.data(), from.data(), nullptr, GradMode::kSkip);
  SigmoidBackward(context, kCount, y.data(), from.data(), from.data(), GradMode::kWrite);
  ExpectNear(from.Values(), expected, 3e-7, 1, "in place");
}

TEST_P(WeightedSumTest, OfOneToTheMostTerms) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (GetParam() == Device::kCpu && dtype == DType::kF16) continue;  // none there
    for (const int count : {1, 3, kMostSumTerms}) {
      Context context(GetParam());
      std::vector<std::vector<float>> sources;
      std::vector<TypedMemory> memory;
      std::vector<SumTerm> terms;
      for (int t = 0; t < count; ++t) {
        sources.push_back(Rounded(Draw(t + 1, kCount), dtype));
        memory.emplace_back(context, dtype, sources.back());
        terms.push_back({memory.back().data(), 0.3f * static_cast<float>(t) - 0.7f});
      }
      for (const bool add : {false, true}) {
        const std::vector<float> before = Rounded(Before(add, 20, kCount), dtype);
        const TypedMemory dst(context, dtype, before);
        WeightedSum(context, kCount, terms, dst.data(), add ? GradMode::kAdd : GradMode::kWrite,
                    dtype);
        const std::vector<float> actual = dst.Values();
        for (int64_t i = 0; i < kCount; ++i) {
          double sum = add ? before[i] : 0, size = std::fabs(sum);
          for (int t = 0; t < count; ++t) {
            const double product = double{terms[t].coefficient} * sources[t][i];
            sum += product;
            size += std::fabs(product);
          }
          // A rounding in f32 a product and a sum, and one to the type, whose smallest numbers are
          // 2^-24 apart in f16.
          const double bound = size * (count + 2) * 0x1p-23 + std::fabs(sum) * RoundingUnit(dtype);
          ASSERT_NEAR(actual[i], sum, bound * 1.01 + 0x1p-25)
              << ToString(dtype) << ", element " << i;
        }
      }
    }
  }
}

TEST_P(WeightedSumTest, InPlaceUnalignedAndRefusals) {
  Context context(GetParam());
  const std::vector<float> src = Draw(1, 1000);
  const Memory<float> a(context, src), b(context, src);
  const SumTerm terms[] = {{a.data() + 3, 1.0f}, {b.data() + 1, 2.0f}};
  WeightedSum(context, 900, terms, a.data() + 3, GradMode::kWrite);
  const std::vector<float> sum = a.Values();
  for (int64_t i = 0; i < 900; ++i) ASSERT_EQ(sum[i + 3], src[i + 3] + 2 * src[i + 1]);
  EXPECT_EQ(sum[2], src[2]);
  EXPECT_EQ(sum[903], src[903]);
  WeightedSum(context, 4, terms, nullptr, GradMode::kSkip);
  EXPECT_THROW(WeightedSum(context, 4, {}, a.data(), GradMode::kWrite), Error);
  const std::vector<SumTerm> many(kMostSumTerms + 1, terms[0]);
  EXPECT_THROW(WeightedSum(context, 4, many, a.data(), GradMode::kWrite), Error);
}

}  // namespace
}  // namespace lseg
