// Pooling: Caffe's sizes and padding on cases worked out by hand, then every format, window and
// mode against the oracle.
#include "kernels/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/error_of.h"
#include "tests/kernels/conv_check.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"
#include "tests/reference/ops.h"

namespace lseg {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using Method = PoolParams::Method;

PoolParams Params(Shape src, int64_t kernel, int64_t stride, int64_t pad,
                  Method method = Method::kMax) {
  PoolParams p;
  p.src = src;
  p.method = method;
  p.kernel_h = p.kernel_w = kernel;
  p.stride_h = p.stride_w = stride;
  p.pad_h = p.pad_w = pad;
  return p;
}

std::vector<float> RunForward(Device device, const PoolParams& p, const std::vector<float>& plain,
                              std::vector<int32_t>* argmax = nullptr) {
  Context context(device, 2);
  const TypedMemory src(context, p.dtype, FromPlain(p.src, p.format, plain));
  const int64_t count = StorageCount(p.Dst(), p.format);
  const TypedMemory dst(context, p.dtype, std::vector<float>(count, NAN));
  const Memory<int32_t> positions(context, std::vector<int32_t>(count, -7));
  PoolForward(context, p, src.data(), dst.data(), argmax == nullptr ? nullptr : positions.data());
  if (argmax != nullptr) *argmax = positions.Values();
  return dst.Values();
}

std::vector<float> RunBackward(Device device, const PoolParams& p, const std::vector<float>& d_dst,
                               const std::vector<int32_t>& argmax, const std::vector<float>& before,
                               GradMode mode, const std::vector<float>& relu_dst = {}) {
  Context context(device, 3);
  const TypedMemory kept(context, p.dtype, relu_dst);
  const TypedMemory from(context, p.dtype, d_dst), to(context, p.dtype, before);
  const Memory<int32_t> positions(context, argmax);
  PoolBackward(context, p, from.data(), argmax.empty() ? nullptr : positions.data(), to.data(),
               mode, relu_dst.empty() ? nullptr : kept.data());
  return to.Values();
}

class PoolDeviceTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(PoolDeviceTest);

// Of the channels that exist.
std::vector<int32_t> PlainPositions(const PoolParams& p, const std::vector<int32_t>& argmax) {
  const Shape dst = p.Dst();
  std::vector<int32_t> plain;
  for (int64_t at = 0; at < dst.Count(); ++at) {
    const int64_t row = at / dst.w, channel = row / dst.h;
    plain.push_back(
        argmax[Offset(dst, p.format, channel / dst.c, channel % dst.c, row % dst.h, at % dst.w)]);
  }
  return plain;
}

TEST(PoolTest, OutputSizeIsRoundedUp) {
  // (in - kernel) / stride, up, + 1: 1440 -> 720 ... 45 -> 23, the sizes of L-Seg's stages.
  EXPECT_EQ(Params({1, 64, 960, 1440}, 2, 2, 0).Dst(), (Shape{1, 64, 480, 720}));
  EXPECT_EQ(Params({1, 3, 135, 45}, 2, 2, 0).Dst(), (Shape{1, 3, 68, 23}));
  EXPECT_EQ(Params({1, 3, 1, 1}, 2, 2, 0).Dst(), (Shape{1, 3, 1, 1}));
  EXPECT_EQ(Params({1, 1, 6, 7}, 3, 2, 0).Dst(), (Shape{1, 1, 3, 3}));
  PoolParams down = Params({1, 1, 6, 7}, 3, 2, 0);
  down.round_up = false;
  EXPECT_EQ(down.Dst(), (Shape{1, 1, 2, 3}));
}

TEST(PoolTest, AWindowThatStartsBeyondTheSourceIsDropped) {
  // 5 + 2 - 2 = 5, 5 / 2 up is 3, so 4 windows: at -1, 1, 3 and 5, which is behind the end.
  EXPECT_EQ(Params({1, 1, 5, 5}, 2, 2, 1).Dst().w, 3);
  // 4 + 2 - 2 = 4: windows at -1, 1, 3. 6 + 2 - 3 = 5, up 3: windows at -1, 1, 3, 5.
  EXPECT_EQ(Params({1, 1, 4, 4}, 2, 2, 1).Dst().w, 3);
  EXPECT_EQ(Params({1, 1, 6, 6}, 3, 2, 1).Dst().w, 4);
  // Windows of 1, 3 apart: at 0, 3 and 6, which is behind the end.
  EXPECT_EQ(Params({1, 1, 5, 5}, 1, 3, 0).Dst().w, 2);
}

TEST_P(PoolDeviceTest, MaximumAndPositionByHand) {
  // 3x3, windows of 2, rounded up: the last row and column have cut windows.
  const std::vector<float> src = {1,  5,  2,  //
                                  4,  5,  9,  //
                                  -3, -1, -2};
  std::vector<int32_t> argmax;
  const PoolParams p = Params({1, 1, 3, 3}, 2, 2, 0);
  EXPECT_THAT(RunForward(GetParam(), p, src, &argmax), ElementsAre(5, 9, -1, -2));
  EXPECT_THAT(argmax, ElementsAre(1, 2, 1, 0));  // 5 stands twice: the first counts

  const std::vector<float> d_dst = {10, 20, 30, 40}, before(9, NAN);
  std::vector<float> d_src = RunBackward(GetParam(), p, d_dst, argmax, before, GradMode::kWrite);
  EXPECT_THAT(d_src, ElementsAre(0, 10, 0, 0, 0, 20, 0, 30, 40));
  d_src = RunBackward(GetParam(), p, d_dst, argmax, d_src, GradMode::kAdd);
  EXPECT_THAT(d_src, ElementsAre(0, 20, 0, 0, 0, 40, 0, 60, 80));
  Context context(GetParam());
  PoolBackward(context, p, d_dst.data(), argmax.data(), nullptr, GradMode::kSkip);
}

TEST_P(PoolDeviceTest, PaddingNeverWinsAndPositionsCountFromTheWindow) {
  std::vector<int32_t> argmax;
  const PoolParams p = Params({1, 1, 2, 2}, 3, 2, 1);  // windows at -1 and 1
  EXPECT_THAT(RunForward(GetParam(), p, {-4, -3, -2, -5}, &argmax), ElementsAre(-2, -3, -2, -5));
  // The window at (-1, -1) sees the source from its (1, 1) on: -2 lies at (2, 1).
  EXPECT_THAT(argmax, ElementsAre(2 * 3 + 1, 1 * 3 + 0, 0 * 3 + 1, 0));
}

TEST_P(PoolDeviceTest, AverageDividesByPaddingWithinTheBorderOnly) {
  // 2x2 source of ones, kernel 3, stride 2, pad 1: windows at -1 and 1; a window holds 2 (at -1) or
  // 1 (at 1) source pixels an axis and is cut at 3 = in + pad, so it spans 3 or 2.
  const PoolParams p = Params({1, 1, 2, 2}, 3, 2, 1, Method::kAverage);
  EXPECT_THAT(RunForward(GetParam(), p, {1, 1, 1, 1}),
              ElementsAre(4.0f / 9, 2.0f / 6, 2.0f / 6, 1.0f / 4));
  const std::vector<float> before(4, NAN);
  EXPECT_THAT(RunBackward(GetParam(), p, {9, 6, 12, 4}, {}, before, GradMode::kWrite),
              ElementsAre(1, 1 + 1, 1 + 2, 1 + 1 + 2 + 1));
}

TEST_P(PoolDeviceTest, ANaNIsSeenDownstream) {
  for (int at = 0; at < 4; ++at) {
    for (const int64_t stride : {2, 3}) {  // the 2x2 kernel and the general one
      std::vector<float> src = {1, 2, 3, 4};
      src[at] = NAN;
      EXPECT_TRUE(std::isnan(RunForward(GetParam(), Params({1, 1, 2, 2}, 2, stride, 0), src)[0]))
          << at;
    }
  }
}

TEST(PoolTest, SourceRows) {
  const PoolParams p = Params({1, 1, 9, 9}, 3, 2, 1);  // windows at -1, 1, 3, 5, 7
  EXPECT_EQ(p.SrcRows({0, 1}), (RowRange{0, 2}));
  EXPECT_EQ(p.SrcRows({1, 3}), (RowRange{1, 6}));
  EXPECT_EQ(p.SrcRows({4, 5}), (RowRange{7, 9}));
  EXPECT_EQ(p.SrcRows({2, 2}), (RowRange{0, 0}));
}

TEST(PoolTest, ImpossibleCasesAreRefused) {
  const auto message = [](const PoolParams& p) { return ErrorOf([&] { p.Validate(); }); };
  EXPECT_THAT(message(Params({1, 1, 4, 4}, 2, 0, 0)), HasSubstr("stride 0"));
  EXPECT_THAT(message(Params({1, 1, 4, 4}, 2, 2, 2)), HasSubstr("below the kernel 2"));
  EXPECT_THAT(message(Params({1, 1, 4, 4}, 9, 2, 0)), HasSubstr("smaller kernel"));
  EXPECT_THAT(message(Params({1, 0, 4, 4}, 2, 2, 0)), HasSubstr("1x0x4x4 is empty"));
  PoolParams opaque = Params({1, 1, 4, 4}, 2, 2, 0);
  opaque.format = Format::kOpaque;
  EXPECT_THAT(message(opaque), HasSubstr("opaque"));
  Context context;
  float d[4] = {};
  EXPECT_THROW(
      PoolBackward(context, Params({1, 1, 2, 2}, 2, 2, 0), d, nullptr, d, GradMode::kWrite), Error);
}

struct Window {
  int64_t kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w;
};

using Sweep = std::tuple<Device, Format, DType, Method, bool, Shape>;

class PoolSweep : public testing::TestWithParam<Sweep> {
 protected:
  void SetUp() override { LSEG_SKIP_WITHOUT(std::get<Device>(GetParam())); }
};

TEST_P(PoolSweep, AgreesWithTheOracle) {
  const auto [device, format, dtype, method, round_up, src_shape] = GetParam();
  const Window windows[] = {{2, 2, 2, 2, 0, 0}, {3, 3, 2, 2, 1, 1}, {3, 2, 1, 2, 1, 0},
                            {1, 4, 3, 3, 0, 2}, {2, 2, 3, 1, 0, 1}, {2, 2, 2, 2, 1, 1}};
  for (const Window& w : windows) {
    const PoolParams p{src_shape, method,  w.kernel_h, w.kernel_w, w.stride_h, w.stride_w,
                       w.pad_h,   w.pad_w, round_up,   format,     dtype};
    const std::string what = testing::PrintToString(
        std::vector<int64_t>{w.kernel_h, w.kernel_w, w.stride_h, w.stride_w, w.pad_h, w.pad_w});
    const double rounding = dtype == DType::kF32 ? 0 : RoundingUnit(dtype);  // of a result
    const std::vector<float> src = Rounded(Draw(1, p.src.Count()), dtype);
    const reference::Pooled expected = reference::PoolForward(p, src);
    std::vector<int32_t> argmax;
    const bool max = method == Method::kMax;
    const std::vector<float> dst = RunForward(device, p, src, max ? &argmax : nullptr);
    const std::vector<float> plain = ToPlain(p.Dst(), format, dst);
    // A maximum is one of its inputs; an average of at most 9 numbers below 1 is off by 10
    // roundings, and by that to its type.
    ExpectNear(plain, expected.dst, max ? 0 : 1e-6 + rounding, 1, what);
    EXPECT_EQ(FromPlain(p.Dst(), format, plain), dst) << what << ": padding channels";
    if (max) {
      EXPECT_EQ(PlainPositions(p, argmax), expected.argmax) << what;
      EXPECT_EQ(RunForward(device, p, src), dst) << what << ": without positions";
    }
    for (const bool add : {false, true}) {
      const std::vector<float> plain_d_dst = Rounded(Draw(2, p.Dst().Count()), dtype);
      const std::vector<float> before = Rounded(Before(add, 3, p.src.Count()), dtype);
      const std::vector<float> d_src =
          RunBackward(device, p, FromPlain(p.Dst(), format, plain_d_dst), argmax,
                      FromPlain(p.src, format, before), add ? GradMode::kAdd : GradMode::kWrite);
      std::vector<double> wanted = reference::PoolBackward(p, plain_d_dst, expected.argmax);
      if (add) wanted = Add(wanted, before);
      const std::vector<float> plain_d_src = ToPlain(p.src, format, d_src);
      // At most 6 windows and the addition, each rounded at a size below 7; rounded to its type
      // once.
      ExpectNear(plain_d_src, wanted, 3e-6 + rounding, 1, what);
      EXPECT_EQ(FromPlain(p.src, format, plain_d_src), d_src) << what << ": padding channels";
      // With the gradient of a ReLU that gave the source: the same where that is above 0.
      std::vector<float> masked = d_src;
      const std::vector<float> stored_src = FromPlain(p.src, format, src);
      for (size_t i = 0; i < masked.size(); ++i) masked[i] = stored_src[i] > 0 ? masked[i] : 0;
      EXPECT_EQ(RunBackward(device, p, FromPlain(p.Dst(), format, plain_d_dst), argmax,
                            FromPlain(p.src, format, before),
                            add ? GradMode::kAdd : GradMode::kWrite, stored_src),
                masked)
          << what << ": with a ReLU's gradient";
    }
  }
}

const Shape kShapes[] = {{2, 19, 7, 11}, {1, 16, 6, 8}};
constexpr Method kMethods[] = {Method::kMax, Method::kAverage};

INSTANTIATE_TEST_SUITE_P(Cpu, PoolSweep,
                         testing::Combine(testing::Values(Device::kCpu),
                                          testing::Values(Format::kNCHW, Format::kNHWC,
                                                          Format::kNChw8c, Format::kNChw16c),
                                          testing::Values(DType::kF32, DType::kBF16),
                                          testing::ValuesIn(kMethods), testing::Bool(),
                                          testing::ValuesIn(kShapes)));

INSTANTIATE_TEST_SUITE_P(Cuda, PoolSweep,
                         testing::Combine(testing::Values(Device::kCuda),
                                          testing::Values(Format::kNCHW, Format::kNHWC),
                                          testing::Values(DType::kF32, DType::kBF16, DType::kF16),
                                          testing::ValuesIn(kMethods), testing::Bool(),
                                          testing::ValuesIn(kShapes)));

TEST(PoolTest, WhatADeviceLacksIsRefused) {
  PoolParams p = Params({1, 16, 4, 4}, 2, 2, 0);
  const auto message = [&](Device device) {
    return ErrorOf([&] { RunForward(device, p, Draw(1, p.src.Count())); });
  };
  p.dtype = DType::kF16;
  EXPECT_THAT(message(Device::kCpu), HasSubstr("f16 on the CPU"));
  LSEG_SKIP_WITHOUT(Device::kCuda);
  p.format = Format::kNChw16c;
  EXPECT_THAT(message(Device::kCuda), HasSubstr("pooling on a GPU knows"));
}

}  // namespace
}  // namespace lseg
