// kernels/runtime: element types against known bit patterns, random numbers against the answers of
// their inventors, the arithmetic of formats.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <set>

#include "kernels/runtime/buffer.h"
#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/random.h"
#include "kernels/runtime/shape.h"

namespace lseg {
namespace {

using testing::ElementsAre;

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(DTypeTest, KnownHalfs) {
  const std::vector<std::pair<uint16_t, float>> known = {
      {0x0000, 0.0f},      {0x3c00, 1.0f},       {0xc000, -2.0f},        {0x7bff, 65504.0f},
      {0x0400, 0x1p-14f},  {0x0001, 0x1p-24f},   {0x03ff, 0x1.ff8p-15f}, {0x3555, 0.33325195f},
      {0x7c00, kInfinity}, {0xfc00, -kInfinity}, {0x3c01, 1.0009766f}};
  for (const auto& [bits, value] : known) {
    EXPECT_EQ(F16ToF32(bits), value) << std::hex << bits;
    EXPECT_EQ(F32ToF16(value), bits) << value;
  }
  EXPECT_TRUE(std::signbit(F16ToF32(0x8000)));
  EXPECT_EQ(F32ToF16(-0.0f), 0x8000);
}

TEST(DTypeTest, EveryHalfSurvivesTheRoundTrip) {
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = F16ToF32(static_cast<uint16_t>(bits));
    if ((bits & 0x7c00) == 0x7c00 && (bits & 0x3ff) != 0) {
      ASSERT_TRUE(std::isnan(value)) << bits;
      ASSERT_TRUE(std::isnan(F16ToF32(F32ToF16(value)))) << bits;
    } else {
      ASSERT_EQ(F32ToF16(value), bits);
    }
  }
}

TEST(DTypeTest, HalfsRoundToNearestTiesToEven) {
  // Between every two neighbours: the middle goes to the even one, a little beside it to the
  // nearer.
  for (int bits = 0; bits < 0x7bff; ++bits) {
    const float low = F16ToF32(static_cast<uint16_t>(bits));
    const float high = F16ToF32(static_cast<uint16_t>(bits + 1));
    const float middle = low + (high - low) / 2;  // exact: f32 has 13 bits more
    ASSERT_EQ(F32ToF16(middle), bits + (bits & 1)) << bits;
    ASSERT_EQ(F32ToF16(std::nextafter(middle, low)), bits);
    ASSERT_EQ(F32ToF16(std::nextafter(middle, high)), bits + 1);
    ASSERT_EQ(F32ToF16(-middle), 0x8000 | (bits + (bits & 1)));
  }
  EXPECT_EQ(F32ToF16(65519.996f), 0x7bff);
  EXPECT_EQ(F32ToF16(65520.0f), 0x7c00);
  EXPECT_EQ(F32ToF16(1e30f), 0x7c00);
  EXPECT_EQ(F32ToF16(0x1p-25f), 0);  // the tie between 0 and the smallest half
  EXPECT_EQ(F32ToF16(0x1.8p-25f), 1);
  EXPECT_EQ(F32ToF16(1e-45f), 0);
  EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(NAN))));
}

TEST(DTypeTest, BFloats) {
  EXPECT_EQ(F32ToBF16(1.0f), 0x3f80);
  EXPECT_EQ(F32ToBF16(-2.5f), 0xc020);
  EXPECT_EQ(F32ToBF16(3.14159265f), 0x4049);
  EXPECT_EQ(BF16ToF32(0x4049), 3.140625f);
  EXPECT_EQ(F32ToBF16(std::bit_cast<float>(0x3f808000u)), 0x3f80);  // ties to even
  EXPECT_EQ(F32ToBF16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(F32ToBF16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_EQ(F32ToBF16(std::numeric_limits<float>::max()), 0x7f80);
  EXPECT_EQ(F32ToBF16(kInfinity), 0x7f80);
  for (const uint32_t nan : {0x7fc00000u, 0x7f800001u, 0xffffffffu}) {
    const uint16_t bits = F32ToBF16(std::bit_cast<float>(nan));
    EXPECT_TRUE(std::isnan(BF16ToF32(bits))) << std::hex << nan;
  }
  for (int bits = 0; bits < 65536; ++bits) {
    const float value = BF16ToF32(static_cast<uint16_t>(bits));
    if (!std::isnan(value)) {
      ASSERT_EQ(F32ToBF16(value), bits);
    }
  }
}

TEST(DTypeTest, SizesAndNames) {
  EXPECT_EQ(SizeOf(DType::kF32), 4);
  EXPECT_EQ(SizeOf(DType::kF16), 2);
  EXPECT_EQ(SizeOf(DType::kBF16), 2);
  EXPECT_EQ(SizeOf(DType::kU8), 1);
  EXPECT_EQ(SizeOf(DType::kI32), 4);
  EXPECT_EQ(ToString(DType::kBF16), "bf16");
}

// Known answers published with the generator (Random123, kat_vectors, philox4x32 10).
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_THAT(Philox({0, 0, 0, 0}, {0, 0}),
              ElementsAre(0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8));
  EXPECT_THAT(Philox({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
              ElementsAre(0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd));
  EXPECT_THAT(Philox({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
              ElementsAre(0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1));
}

TEST(RandomTest, SequencesBelongToSeedAndStream) {
  Random a(5, 9), again(5, 9), other_seed(6, 9), other_stream(5, 10);
  std::set<uint32_t> seen;
  for (int i = 0; i < 100; ++i) {
    const uint32_t bits = a.Bits();
    EXPECT_EQ(bits, again.Bits());
    seen.insert(bits);
    seen.insert(other_seed.Bits());
    seen.insert(other_stream.Bits());
  }
  EXPECT_EQ(seen.size(), 300u);
  // The first four are the block of counter 0.
  Random first(0, 0);
  EXPECT_EQ(first.Bits(), 0x6627e8d5u);
}

TEST(RandomTest, Distributions) {
  Random random(1, 2);
  constexpr int kCount = 100'000;
  double sum = 0, normal = 0, squares = 0;
  int counts[7] = {};
  for (int i = 0; i < kCount; ++i) {
    const float uniform = random.Uniform();
    ASSERT_GE(uniform, 0);
    ASSERT_LT(uniform, 1);
    sum += uniform;
    const float wide = random.Uniform(-3, 5);
    ASSERT_GE(wide, -3);
    ASSERT_LE(wide, 5);
    ++counts[random.Below(7)];
    const double z = random.Normal();
    normal += z;
    squares += z * z;
  }
  // Five standard deviations of a mean: 5 * sqrt(1/12 / 1e5), 5 / sqrt(1e5), 5 * sqrt(2 / 1e5),
  // and of a count: 5 * sqrt(1e5 * 6 / 49).
  EXPECT_NEAR(sum / kCount, 0.5, 0.0046);
  EXPECT_NEAR(normal / kCount, 0, 0.0159);
  EXPECT_NEAR(squares / kCount, 1, 0.0224);
  for (const int count : counts) EXPECT_NEAR(count, kCount / 7.0, 554);
}

TEST(ShapeTest, CountsAndNames) {
  const Shape shape{2, 19, 5, 7};
  EXPECT_EQ(shape.Count(), 1330);
  EXPECT_EQ(ToString(shape), "2x19x5x7");
  EXPECT_EQ(StorageCount(shape, Format::kNCHW), 1330);
  EXPECT_EQ(StorageCount(shape, Format::kNHWC), 1330);
  EXPECT_EQ(StorageCount(shape, Format::kNChw8c), 2 * 24 * 35);
  EXPECT_EQ(StorageCount(shape, Format::kNChw16c), 2 * 32 * 35);
  EXPECT_EQ(StorageCount({0, 19, 5, 7}, Format::kNChw8c), 0);
  EXPECT_THROW(StorageCount(shape, Format::kOpaque), Error);
  EXPECT_EQ(ToString(Format::kNChw16c), "nChw16c");
  EXPECT_EQ(ChannelBlock(Format::kNHWC, 19), 19);
}

TEST(ShapeTest, Offsets) {
  const Shape shape{2, 19, 5, 7};  // element (1, 17, 3, 4)
  EXPECT_EQ(Offset(shape, Format::kNCHW, 1, 17, 3, 4), 665 + 17 * 35 + 3 * 7 + 4);
  EXPECT_EQ(Offset(shape, Format::kNHWC, 1, 17, 3, 4), 665 + (3 * 7 + 4) * 19 + 17);
  // Block 17 / 8 = 2 of 3, lane 1; block 1 of 2, lane 1.
  EXPECT_EQ(Offset(shape, Format::kNChw8c, 1, 17, 3, 4), (3 * 35 + 2 * 35 + 25) * 8 + 1);
  EXPECT_EQ(Offset(shape, Format::kNChw16c, 1, 17, 3, 4), (2 * 35 + 35 + 25) * 16 + 1);
  // Every element has a place of its own.
  for (const Format format : {Format::kNCHW, Format::kNHWC, Format::kNChw8c, Format::kNChw16c}) {
    std::set<int64_t> places;
    for (int64_t at = 0; at < shape.Count(); ++at) {
      const int64_t place = Offset(shape, format, at / 665, at / 35 % 19, at / 7 % 5, at % 7);
      EXPECT_GE(place, 0);
      EXPECT_LT(place, StorageCount(shape, format));
      places.insert(place);
    }
    EXPECT_EQ(places.size(), 1330u) << ToString(format);
  }
  EXPECT_THROW(Offset(shape, Format::kOpaque, 0, 0, 0, 0), Error);
}

TEST(BufferTest, IsAlignedAndOwned) {
  for (const int64_t bytes : {1, 100, 5'000'000}) {
    Buffer buffer(Device::kCpu, bytes);
    EXPECT_EQ(buffer.bytes(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(buffer.data()) % 64, 0u);
    static_cast<char*>(buffer.data())[bytes - 1] = 1;
    const void* data = buffer.data();
    const Buffer moved = std::move(buffer);
    EXPECT_EQ(moved.data(), data);
  }
  EXPECT_EQ(Buffer(Device::kCpu, 0).data(), nullptr);
  EXPECT_THROW(Buffer(Device::kCpu, -1), Error);
  try {
    Buffer(Device::kCpu, int64_t{1} << 60);
    ADD_FAILURE() << "2^60 bytes were given";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("1152921504606846976 bytes"));
  }
}

TEST(ContextTest, ThreadsAndFormat) {
  EXPECT_EQ(Context(Device::kCpu, 3).threads(), 3);
  EXPECT_GE(Context().threads(), 1);
  const Format format = Context().blocked_format();
  EXPECT_TRUE(format == Format::kNChw8c || format == Format::kNChw16c);
  EXPECT_THAT(Context(Device::kCpu, 1).Describe(), testing::EndsWith("1 thread"));
}

}  // namespace
}  // namespace lseg
