// Pooling: Caffe's sizes and padding on cases worked out by hand, then every format, window and
// mode against the oracle.
#include "kernels/pool.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/error_of.h"
#include "tests/kernels/conv_check.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/for_each_target.h"
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

// Positions as they lie in memory, and back.
std::vector<uint8_t> ToMemory(const PoolParams& p, const std::vector<int32_t>& argmax) {
  if (p.ArgmaxDType() == DType::kU8) return {argmax.begin(), argmax.end()};
  std::vector<uint8_t> memory(argmax.size() * 4);
  std::memcpy(memory.data(), argmax.data(), memory.size());
  return memory;
}
std::vector<int32_t> FromMemory(const PoolParams& p, const std::vector<uint8_t>& memory) {
  if (p.ArgmaxDType() == DType::kU8) return {memory.begin(), memory.end()};
  std::vector<int32_t> argmax(memory.size() / 4);
  std::memcpy(argmax.data(), memory.data(), memory.size());
  return argmax;
}

std::vector<float> RunForward(Device device, const PoolParams& p, const std::vector<float>& plain,
                              std::vector<int32_t>* argmax = nullptr) {
  Context context(device, 2);
  const TypedMemory src(context, p.dtype, FromPlain(p.src, p.format, plain));
  const int64_t count = StorageCount(p.Dst(), p.format);
  const TypedMemory dst(context, p.dtype, std::vector<float>(count, NAN));
  const Memory<uint8_t> positions(context,
                                  std::vector<uint8_t>(count * SizeOf(p.ArgmaxDType()), 0xf9));
  PoolForward(context, p, src.data(), dst.data(), argmax == nullptr ? nullptr : positions.data());
  if (argmax != nullptr) *argmax = FromMemory(p, positions.Values());
  return dst.Values();
}

std::vector<float> RunBackward(Device device, const PoolParams& p, const std::vector<float>& d_dst,
                               const std::vector<int32_t>& argmax, const std::vector<float>& before,
                               GradMode mode, const std::vector<float>& relu_dst = {}) {
  Context context(device, 3);
  const TypedMemory kept(context, p.dtype, relu_dst);
  const TypedMemory from(context, p.dtype, d_dst), to(context, p.dtype, before);
  const Memory<uint8_t> positions(context, ToMemory(p, argmax));
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

// One in each window, at each place in turn; channels and windows enough for vectors of both.
void ExpectNaNs(Device device) {
  for (const Format format : {Format::kNCHW, Format::kNHWC}) {
    for (int at = 0; at < 4; ++at) {
      for (const int64_t stride : {2, 3}) {  // the 2x2 kernel and the general one
        PoolParams p = Params({1, 16, 2, 20 * stride}, 2, stride, 0);
        p.format = format;
        std::vector<float> src = Draw(1, p.src.Count());
        for (int64_t row = at / 2; row < 2 * p.src.c; row += 2) {
          for (int64_t x = at % 2; x < p.src.w; x += stride) src[row * p.src.w + x] = NAN;
        }
        for (const float value : RunForward(device, p, src)) {
          ASSERT_TRUE(std::isnan(value)) << ToString(format) << " " << at << " " << stride;
        }
      }
    }
  }
}

TEST_P(PoolDeviceTest, ANaNIsSeenDownstream) { ExpectNaNs(GetParam()); }

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

// Of a maximum or an average, forward and backward, in both modes of the gradient.
void ExpectOracle(Device device, const PoolParams& p) {
  const std::string what = testing::PrintToString(
      std::vector<int64_t>{p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.pad_h, p.pad_w});
  const double rounding = p.dtype == DType::kF32 ? 0 : RoundingUnit(p.dtype);  // of a result
  const std::vector<float> src = Rounded(Draw(1, p.src.Count()), p.dtype);
  const reference::Pooled expected = reference::PoolForward(p, src);
  std::vector<int32_t> argmax;
  const bool max = p.method == Method::kMax;
  const std::vector<float> dst = RunForward(device, p, src, max ? &argmax : nullptr);
  const std::vector<float> plain = ToPlain(p.Dst(), p.format, dst);
  // A maximum is one of its inputs; an average of at most 9 numbers below 1 is off by 10
  // roundings, and by that to its type.
  ExpectNear(plain, expected.dst, max ? 0 : 1e-6 + rounding, 1, what);
  EXPECT_EQ(FromPlain(p.Dst(), p.format, plain), dst) << what << ": padding channels";
  if (max) {
    EXPECT_EQ(PlainPositions(p, argmax), expected.argmax) << what;
    EXPECT_EQ(RunForward(device, p, src), dst) << what << ": without positions";
  }
  for (const bool add : {false, true}) {
    const std::vector<float> plain_d_dst = Rounded(Draw(2, p.Dst().Count()), p.dtype);
    const std::vector<float> before = Rounded(Before(add, 3, p.src.Count()), p.dtype);
    const auto backward = [&](const std::vector<float>& relu_dst) {
      return RunBackward(device, p, FromPlain(p.Dst(), p.format, plain_d_dst), argmax,
                         FromPlain(p.src, p.format, before),
                         add ? GradMode::kAdd : GradMode::kWrite, relu_dst);
    };
    const std::vector<float> d_src = backward({});
    std::vector<double> wanted = reference::PoolBackward(p, plain_d_dst, expected.argmax);
    if (add) wanted = Add(wanted, before);
    const std::vector<float> plain_d_src = ToPlain(p.src, p.format, d_src);
    // At most 6 windows and the addition, each rounded at a size below 7; rounded to its type
    // once.
    ExpectNear(plain_d_src, wanted, 3e-6 + rounding, 1, what);
    EXPECT_EQ(FromPlain(p.src, p.format, plain_d_src), d_src) << what << ": padding channels";
    // With the gradient of a ReLU that gave the source: the same where that is above 0.
    std::vector<float> masked = d_src;
    const std::vector<float> stored_src = FromPlain(p.src, p.format, src);
    for (size_t i = 0; i < masked.size(); ++i) masked[i] = stored_src[i] > 0 ? masked[i] : 0;
    EXPECT_EQ(backward(stored_src), masked) << what << ": with a ReLU's gradient";
  }
}

constexpr Window kWindows[] = {{2, 2, 2, 2, 0, 0}, {3, 3, 2, 2, 1, 1}, {3, 2, 1, 2, 1, 0},
                               {1, 4, 3, 3, 0, 2}, {2, 2, 3, 1, 0, 1}, {2, 2, 2, 2, 1, 1}};

PoolParams WithWindow(PoolParams p, const Window& w) {
  p.kernel_h = w.kernel_h;
  p.kernel_w = w.kernel_w;
  p.stride_h = w.stride_h;
  p.stride_w = w.stride_w;
  p.pad_h = w.pad_h;
  p.pad_w = w.pad_w;
  return p;
}

using Sweep = std::tuple<Device, Format, DType, Method, bool, Shape>;

class PoolSweep : public testing::TestWithParam<Sweep> {
 protected:
  void SetUp() override { LSEG_SKIP_WITHOUT(std::get<Device>(GetParam())); }
};

TEST_P(PoolSweep, AgreesWithTheOracle) {
  const auto [device, format, dtype, method, round_up, src] = GetParam();
  for (const Window& window : kWindows) {
    PoolParams p = WithWindow({.src = src, .method = method}, window);
    p.round_up = round_up;
    p.format = format;
    p.dtype = dtype;
    ExpectOracle(device, p);
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

// The rows' loops are compiled for several instruction sets.
TEST(PoolTest, EveryInstructionSetAgreesWithTheOracle) {
  ForEachTarget([] {
    ExpectNaNs(Device::kCpu);
    for (const Format format : {Format::kNCHW, Format::kNHWC, Format::kNChw8c, Format::kNChw16c}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        for (const Window& window : kWindows) {
          for (const Method method : kMethods) {
            PoolParams p = WithWindow({.src = {1, 16, 7, 71}, .method = method}, window);
            p.format = format;
            p.dtype = dtype;
            ExpectOracle(Device::kCpu, p);
          }
        }
      }
    }
  });
}

TEST(PoolTest, PositionsTakeAByteWhereTheyFit) {
  const auto argmax = [](int64_t kernel_h, int64_t kernel_w) {
    return WithWindow({.src = {1, 1, 300, 300}}, {kernel_h, kernel_w, 1, 1, 0, 0}).ArgmaxDType();
  };
  EXPECT_EQ(argmax(2, 2), DType::kU8);
  EXPECT_EQ(argmax(16, 16), DType::kU8);  // the last is 255
  EXPECT_EQ(argmax(1, 256), DType::kU8);
  EXPECT_EQ(argmax(1, 257), DType::kI32);
  EXPECT_EQ(argmax(16, 17), DType::kI32);
  EXPECT_EQ(argmax(300, 300), DType::kI32);
}

// Windows that tile the source, the largest value at the end of each, the cut ones' included.
void ExpectLastPositions(Device device, const PoolParams& p) {
  const std::string what = ToString(p.format) + " " + ToString(p.dtype) + " " +
                           std::to_string(p.kernel_h) + "x" + std::to_string(p.kernel_w);
  const Shape dst = p.Dst();
  std::vector<float> src(p.src.Count(), -1), expected_d_src(p.src.Count(), 0);
  std::vector<int32_t> positions;
  for (int64_t at = 0; at < dst.Count(); ++at) {
    const int64_t x = at % dst.w, y = at / dst.w % dst.h, plane = at / dst.w / dst.h;
    const int64_t last_y = std::min((y + 1) * p.kernel_h, p.src.h) - 1;
    const int64_t last_x = std::min((x + 1) * p.kernel_w, p.src.w) - 1;
    const int64_t best = (plane * p.src.h + last_y) * p.src.w + last_x;
    src[best] = 2;
    expected_d_src[best] = 3;
    const int64_t r = last_y - y * p.kernel_h, s = last_x - x * p.kernel_w;
    positions.push_back(static_cast<int32_t>(r * p.kernel_w + s));
  }
  EXPECT_EQ(positions[0], p.kernel_h * p.kernel_w - 1) << what;
  std::vector<int32_t> argmax;
  const std::vector<float> maxima = RunForward(device, p, src, &argmax);
  EXPECT_EQ(ToPlain(dst, p.format, maxima), std::vector<float>(dst.Count(), 2)) << what;
  EXPECT_EQ(PlainPositions(p, argmax), positions) << what;
  const std::vector<float> d_dst(dst.Count(), 3), before(p.src.Count(), NAN);
  const std::vector<float> d_src =
      RunBackward(device, p, FromPlain(dst, p.format, d_dst), argmax,
                  FromPlain(p.src, p.format, before), GradMode::kWrite);
  EXPECT_EQ(ToPlain(p.src, p.format, d_src), expected_d_src) << what;
}

TEST_P(PoolDeviceTest, LargeWindows) {
  const bool cpu = GetParam() == Device::kCpu;
  const Window windows[] = {{16, 16, 16, 16, 0, 0},  // whose positions just fit a byte,
                            {16, 17, 16, 17, 0, 0},  // and which do not
                            {1, 256, 1, 256, 0, 0},
                            {257, 1, 257, 1, 0, 0}};
  for (const Window& window : windows) {
    for (const Format format :
         {Format::kNCHW, Format::kNHWC, cpu ? Format::kNChw16c : Format::kNHWC}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        // Two whole windows along each axis, and a rest.
        PoolParams p =
            WithWindow({.src = {1, 16, 2 * window.kernel_h + 1, 2 * window.kernel_w + 1}}, window);
        p.format = format;
        p.dtype = dtype;
        ExpectLastPositions(GetParam(), p);
        ExpectOracle(GetParam(), p);
      }
    }
  }
}

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
