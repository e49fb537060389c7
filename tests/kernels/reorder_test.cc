// Every pair of formats, channels that fill blocks and that do not; casts of labels.
#include "kernels/reorder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "tests/kernels/conv_check.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::HasSubstr;

class ReorderSweep : public testing::TestWithParam<std::tuple<Format, Format, Shape>> {};

TEST_P(ReorderSweep, MovesEveryElementAndZeroesPadding) {
  const auto [from, to, shape] = GetParam();
  Context context(Device::kCpu, 3);
  const std::vector<float> plain = Draw(1, shape.Count());
  const std::vector<float> src = FromPlain(shape, from, plain);
  std::vector<float> dst(StorageCount(shape, to), NAN);
  Reorder(context, shape, from, src.data(), to, dst.data(), GradMode::kWrite);
  EXPECT_EQ(dst, FromPlain(shape, to, plain));

  const std::vector<float> more = Draw(2, shape.Count());
  dst = FromPlain(shape, to, more);
  Reorder(context, shape, from, src.data(), to, dst.data(), GradMode::kAdd);
  std::vector<float> sum = plain;
  for (size_t i = 0; i < sum.size(); ++i) sum[i] += more[i];
  EXPECT_EQ(dst, FromPlain(shape, to, sum));
  Reorder(context, shape, from, src.data(), to, nullptr, GradMode::kSkip);
}

// 27x20 pixels: more than one tile, the last one not full.
constexpr Format kFormats[] = {Format::kNCHW, Format::kNHWC, Format::kNChw8c, Format::kNChw16c};
INSTANTIATE_TEST_SUITE_P(All, ReorderSweep,
                         testing::Combine(testing::ValuesIn(kFormats), testing::ValuesIn(kFormats),
                                          testing::Values(Shape{2, 3, 5, 7}, Shape{2, 8, 27, 20},
                                                          Shape{1, 20, 27, 20}, Shape{2, 32, 3, 5},
                                                          Shape{1, 1, 4, 9})));

TEST(CastTest, BytesToFloatsAndBack) {
  Context context;
  std::vector<uint8_t> bytes(40'003);
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<uint8_t>(i * 7);
  std::vector<float> floats(bytes.size(), NAN);
  CastToF32(context, bytes.size(), bytes.data(), floats.data());
  for (size_t i = 0; i < bytes.size(); ++i) ASSERT_EQ(floats[i], bytes[i]);
  std::vector<uint8_t> back(bytes.size(), 1);
  CastToU8(context, bytes.size(), floats.data(), back.data());
  EXPECT_EQ(back, bytes);
}

TEST(CastTest, WhatIsNoByteIsRefused) {
  Context context;
  for (const float wrong : {-1.0f, 256.0f, 0.5f, 254.99998f, NAN, INFINITY, -0.25f, 3e9f}) {
    std::vector<float> floats(20'000, 4);
    floats[17'003] = wrong;
    std::vector<uint8_t> bytes(floats.size());
    try {
      CastToU8(context, floats.size(), floats.data(), bytes.data());
      ADD_FAILURE() << wrong << " was accepted";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("element 17003 is not an integer in 0..255"));
    }
  }
}

}  // namespace
}  // namespace lseg
