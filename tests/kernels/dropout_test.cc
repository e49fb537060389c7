#include "kernels/dropout.h"

#include <gtest/gtest.h>

#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

constexpr int64_t kCount = 40'003;

class DropoutTest : public DeviceTest {
 protected:
  std::vector<float> Run(const DropoutParams& params, int32_t batch, const std::vector<float>& src,
                         std::vector<float> before = {}, GradMode mode = GradMode::kWrite,
                         int threads = 2) {
    Context context(GetParam(), threads);
    if (before.empty()) before.assign(src.size(), NAN);
    const Memory<float> from(context, src), to(context, before);
    const Memory<int32_t> number(context, {batch});
    Dropout(context, params, number.data(), from.data(), to.data(), mode);
    return to.Values();
  }
};
LSEG_ON_ALL_DEVICES(DropoutTest);

TEST_P(DropoutTest, KeepsAShareAndScalesIt) {
  for (const float ratio : {0.0f, 0.25f, 0.5f, 0.9f}) {
    const std::vector<float> src = Draw(1, kCount, 1, 2);
    const std::vector<float> dst = Run({kCount, ratio, 7}, 3, src);
    int64_t kept = 0;
    const float scale = 1 / (1 - ratio);
    for (int64_t i = 0; i < kCount; ++i) {
      if (dst[i] == 0) continue;
      ++kept;
      ASSERT_EQ(dst[i], src[i] * scale) << i;
    }
    // Five standard deviations of the binomial distribution.
    const double deviation = std::sqrt(kCount * ratio * (1 - ratio));
    EXPECT_NEAR(static_cast<double>(kept), kCount * (1 - ratio), 5 * deviation) << ratio;
  }
}

// Neighbours, batches and layers are dropped independently of one another.
TEST_P(DropoutTest, MasksAreUncorrelated) {
  const std::vector<float> ones(kCount, 0.5f);
  const auto mask = [&](uint64_t seed, int32_t batch) {
    return Run({kCount, 0.5f, seed}, batch, ones);  // 0 or 1
  };
  const std::vector<float> a = mask(1, 0);
  const auto agreement = [&](const std::vector<float>& b, int64_t shift) {
    int64_t same = 0;
    for (int64_t i = shift; i < kCount; ++i) same += a[i - shift] == b[i];
    return static_cast<double>(same) / static_cast<double>(kCount - shift);
  };
  // Half of 40000 coins agree, to five standard deviations of 0.0025.
  EXPECT_NEAR(agreement(mask(1, 1), 0), 0.5, 0.0125);
  EXPECT_NEAR(agreement(mask(2, 0), 0), 0.5, 0.0125);
  for (const int64_t shift : {1, 2, 64}) EXPECT_NEAR(agreement(a, shift), 0.5, 0.0125) << shift;
  EXPECT_EQ(mask(1, 0), a) << "the same batch draws the same";
}

TEST_P(DropoutTest, BackwardDropsTheSameAndAdds) {
  const DropoutParams params{kCount, 0.5f, 11};
  const std::vector<float> src(kCount, 1), d_dst = Draw(2, kCount), before = Draw(3, kCount);
  const std::vector<float> mask = Run(params, 5, src);
  const std::vector<float> d_src = Run(params, 5, d_dst, before, GradMode::kAdd);
  // The mask is 0 or 2: the product is exact, the sum rounds once.
  for (int64_t i = 0; i < kCount; ++i) ASSERT_EQ(d_src[i], before[i] + mask[i] * d_dst[i]) << i;
}

// The CPU's mask is the reference: a checkpoint of one device goes on the same way on the other.
TEST_P(DropoutTest, TheSameMaskOnAllDevicesAndThreads) {
  const DropoutParams params{kCount, 0.3f, uint64_t{1} << 60};
  const std::vector<float> src = Draw(1, kCount);
  Context cpu(Device::kCpu, 1);
  std::vector<float> expected(kCount);
  const int32_t batch = 2'000'000'000;
  Dropout(cpu, params, &batch, src.data(), expected.data(), GradMode::kWrite);
  EXPECT_EQ(Run(params, batch, src), expected);
  EXPECT_EQ(Run(params, batch, src, {}, GradMode::kWrite, 3), expected);
}

TEST_P(DropoutTest, HalfPrecisionIsRoundedOnce) {
  for (const DType dtype : {DType::kBF16, DType::kF16}) {
    if (GetParam() == Device::kCpu && dtype == DType::kF16) continue;  // none there
    Context context(GetParam());
    const DropoutParams params{1001, 0.3f, 5};
    const std::vector<float> src = Rounded(Draw(1, 1001), dtype);
    const std::vector<float> plain = Run(params, 1, src);
    const TypedMemory from(context, dtype, src);
    const Memory<int32_t> batch(context, {1});
    Dropout(context, params, batch.data(), from.data(), from.data(), GradMode::kWrite, dtype);
    EXPECT_EQ(from.Values(), Rounded(plain, dtype));
  }
}

TEST_P(DropoutTest, SkipAndRefusals) {
  Context context(GetParam());
  Dropout(context, {4, 0.5f, 1}, nullptr, nullptr, nullptr, GradMode::kSkip);
  EXPECT_THROW((DropoutParams{4, 1.0f, 1}.Validate()), Error);
  EXPECT_THROW((DropoutParams{4, -0.1f, 1}.Validate()), Error);
  EXPECT_THROW((DropoutParams{4, NAN, 1}.Validate()), Error);
}

}  // namespace
}  // namespace lseg
