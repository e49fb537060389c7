// Every pair of formats, channels that fill blocks and that do not; casts of labels.
#include "kernels/reorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/kernels/conv_check.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::HasSubstr;

class ReorderSweep : public testing::TestWithParam<std::tuple<Format, Format, Shape>> {
 protected:
  // Writes, then adds.
  void Check(Device device, DType src_dtype, DType dst_dtype) {
    const auto [from, to, shape] = GetParam();
    Context context(device, 3);
    const std::vector<float> plain = Rounded(Draw(1, shape.Count()), src_dtype);
    const TypedMemory src(context, src_dtype, FromPlain(shape, from, plain));
    const TypedMemory dst(context, dst_dtype, std::vector<float>(StorageCount(shape, to), NAN));
    Reorder(context, shape, from, src.data(), to, dst.data(), GradMode::kWrite, src_dtype,
            dst_dtype);
    EXPECT_EQ(dst.Values(), FromPlain(shape, to, Rounded(plain, dst_dtype)));

    const std::vector<float> more = Rounded(Draw(2, shape.Count()), dst_dtype);
    const TypedMemory sum(context, dst_dtype, FromPlain(shape, to, more));
    Reorder(context, shape, from, src.data(), to, sum.data(), GradMode::kAdd, src_dtype, dst_dtype);
    std::vector<float> expected = plain;
    for (size_t i = 0; i < expected.size(); ++i) expected[i] += more[i];
    EXPECT_EQ(sum.Values(), FromPlain(shape, to, Rounded(expected, dst_dtype)));
    Reorder(context, shape, from, src.data(), to, nullptr, GradMode::kSkip, src_dtype, dst_dtype);
  }
};

TEST_P(ReorderSweep, MovesEveryElementAndZeroesPadding) {
  for (const DType src_dtype : {DType::kF32, DType::kBF16}) {
    for (const DType dst_dtype : {DType::kF32, DType::kBF16}) {
      Check(Device::kCpu, src_dtype, dst_dtype);
    }
  }
}

TEST_P(ReorderSweep, OnAGpuFromEveryTypeToEveryType) {
  LSEG_SKIP_WITHOUT(Device::kCuda);
  const auto [from, to, shape] = GetParam();
  const auto knows = [](Format format) {
    return format == Format::kNCHW || format == Format::kNHWC;
  };
  if (knows(from) && knows(to)) {
    for (const DType src_dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      for (const DType dst_dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
        Check(Device::kCuda, src_dtype, dst_dtype);
      }
    }
  } else {
    EXPECT_THROW(Check(Device::kCuda, DType::kF32, DType::kF32), Error);
  }
}

// 27x20 pixels: more than one tile, the last one not full; 1100 with few channels, for which tiles
// on a GPU are longer; 70 channels are three tiles of it.
constexpr Format kFormats[] = {Format::kNCHW, Format::kNHWC, Format::kNChw8c, Format::kNChw16c};
INSTANTIATE_TEST_SUITE_P(
    All, ReorderSweep,
    testing::Combine(testing::ValuesIn(kFormats), testing::ValuesIn(kFormats),
                     testing::Values(Shape{2, 3, 5, 7}, Shape{2, 8, 27, 20}, Shape{1, 20, 27, 20},
                                     Shape{2, 32, 3, 5}, Shape{1, 1, 4, 9}, Shape{1, 3, 11, 100},
                                     Shape{2, 4, 11, 100}, Shape{1, 70, 9, 8})));

TEST(ReorderTest, F16IsRefusedOnTheCpu) {
  Context context;
  const uint16_t src[4] = {};
  float dst[4];
  EXPECT_THROW(Reorder(context, {1, 1, 2, 2}, Format::kNCHW, src, Format::kNCHW, dst,
                       GradMode::kWrite, DType::kF16, DType::kF32),
               Error);
  EXPECT_THROW(Reorder(context, {1, 1, 2, 2}, Format::kNCHW, dst, Format::kNCHW, dst,
                       GradMode::kWrite, DType::kF32, DType::kF16),
               Error);
}

class CastTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(CastTest);

TEST_P(CastTest, BytesToFloatsAndBack) {
  Context context(GetParam());
  std::vector<uint8_t> bytes(40'003);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  const Memory<uint8_t> from(context, bytes), back(context, std::vector<uint8_t>(bytes.size(), 1));
  const Memory<float> floats(context, std::vector<float>(bytes.size(), NAN));
  CastToF32(context, bytes.size(), from.data(), floats.data());
  const std::vector<float> values = floats.Values();
  for (size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(values[i], bytes[i]);
  CastToU8(context, bytes.size(), floats.data(), back.data());
  EXPECT_EQ(back.Values(), bytes);
}

TEST_P(CastTest, WhatIsNoByteIsRefused) {
  Context context(GetParam());
  for (const float wrong : {-1.0f, 256.0f, 0.5f, 254.99998f, NAN, INFINITY, -0.25f, 3e9f}) {
    std::vector<float> floats(20'000, 4);
    floats[17'003] = wrong;
    const Memory<float> from(context, floats);
    const Memory<uint8_t> to(context, std::vector<uint8_t>(floats.size()));
    try {
      CastToU8(context, floats.size(), from.data(), to.data());
      context.Synchronize();
      ADD_FAILURE() << wrong << " was accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(),
                  HasSubstr(GetParam() == Device::kCpu ? "element 17003 is not an integer in 0..255"
                                                       : "a label has a value that is no class"));
    }
  }
}

}  // namespace
}  // namespace lseg
