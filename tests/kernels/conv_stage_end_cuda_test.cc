// The end of a stage: pooled map and scores that come out of a convolution in place of its output,
// against the double oracle.
//
// An element of the convolution is off by at most u = 2 (k + 3) 2^-24 of the sum of its absolute
// products (k of them, in f32, on tensor cores; see conv_check.h). ReLU and maxima do not enlarge
// that; the pooled map is then rounded once to its type. A score adds up O such elements times
// weights, in f32: (O + partials + 2) 2^-24 of the sum of their absolute values on top.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/conv.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/random.h"
#include "tests/reference/conv.h"

namespace lseg {
namespace {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

float Round(float value, DType dtype) {
  if (dtype == DType::kBF16) return BF16ToF32(F32ToBF16(value));
  if (dtype == DType::kF16) return F16ToF32(F32ToF16(value));
  return value;
}

// The most that rounding to nearest changes, relative.
double UnitRoundoff(DType dtype) {
  return dtype == DType::kBF16 ? 0x1p-8 : dtype == DType::kF16 ? 0x1p-11 : 0x1p-24;
}

// Values with at most 8 bits of mantissa: exact in every type, tf32 included.
Floats Draw(uint64_t stream, int64_t count) {
  Random random(1, stream);
  Floats values(count);
  for (float& value : values) value = Round(random.Uniform(-1, 1), DType::kBF16);
  return values;
}

Floats Absolute(Floats values) {
  for (float& value : values) value = std::fabs(value);
  return values;
}

Buffer ToDevice(const void* from, int64_t bytes) {
  Buffer buffer(Device::kCuda, bytes);
  CopyToDevice(Device::kCuda, buffer.data(), from, bytes);
  return buffer;
}

// NCHW to NHWC elements of a type, on the device.
Buffer Activations(const Shape& s, const Floats& plain, DType dtype) {
  std::vector<float> wide(s.Count());
  std::vector<uint16_t> narrow(s.Count());
  for (int64_t n = 0, at = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c)
      for (int64_t y = 0; y < s.h; ++y)
        for (int64_t x = 0; x < s.w; ++x, ++at) {
          const int64_t to = Offset(s, Format::kNHWC, n, c, y, x);
          wide[to] = plain[at];
          narrow[to] = dtype == DType::kF16 ? F32ToF16(plain[at]) : F32ToBF16(plain[at]);
        }
  return dtype == DType::kF32 ? ToDevice(wide.data(), s.Count() * 4)
                              : ToDevice(narrow.data(), s.Count() * 2);
}

// Elements of a type on the device as they lie.
Floats FromDevice(const Buffer& buffer, DType dtype) {
  Floats values(buffer.bytes() / SizeOf(dtype));
  if (dtype == DType::kF32) {
    CopyToHost(Device::kCuda, values.data(), buffer.data(), buffer.bytes());
    return values;
  }
  std::vector<uint16_t> bits(values.size());
  CopyToHost(Device::kCuda, bits.data(), buffer.data(), buffer.bytes());
  for (size_t i = 0; i < bits.size(); ++i) {
    values[i] = dtype == DType::kF16 ? F16ToF32(bits[i]) : BF16ToF32(bits[i]);
  }
  return values;
}

Buffer FilledWithNan(int64_t bytes) {
  const std::vector<uint8_t> ones(bytes, 0xff);
  return ToDevice(ones.data(), bytes);
}

struct Inputs {
  explicit Inputs(const ConvParams& p)
      : src(Draw(1, p.src.Count())),
        weight(Draw(2, p.Weight().Count())),
        bias(Draw(3, p.out_channels)),
        score_weight(Draw(4, p.score_channels * p.out_channels)) {}
  Floats src, weight, bias, score_weight;
};

struct Outputs {
  Floats pooled, partials;
  int64_t count = 0;  // of the partials
};

Outputs RunStageEnd(const ConvParams& p, const Inputs& inputs, DType dtype,
                    const std::string& engine) {
  Context context(Device::kCuda);
  const ConvFormats formats = {Format::kNHWC, Format::kNHWC, dtype, dtype};
  const auto plan = MakeConvPlan(context, p, ConvDirection::kForward, formats, engine);
  const Buffer src = Activations(p.src, inputs.src, dtype);
  const Buffer weight = ToDevice(inputs.weight.data(), inputs.weight.size() * 4);
  const Buffer bias = ToDevice(inputs.bias.data(), inputs.bias.size() * 4);
  const Buffer score_weight = ToDevice(inputs.score_weight.data(), inputs.score_weight.size() * 4);
  const Buffer packed(Device::kCuda, plan->PackedWeightBytes());
  plan->PackWeights(context, static_cast<const float*>(weight.data()), packed.data());
  const Shape dst = p.Dst();
  const Buffer pooled = FilledWithNan(p.pooled ? p.Pooled().Count() * SizeOf(dtype) : 0);
  const Buffer partials =
      FilledWithNan(plan->ScorePartials() * dst.n * p.score_channels * dst.h * dst.w * 4);
  ConvArgs args;
  args.src = src.data();
  args.weight = packed.data();
  args.bias = static_cast<const float*>(bias.data());
  args.pooled = pooled.data();
  args.score_weight = static_cast<const float*>(score_weight.data());
  args.score_partials = static_cast<float*>(partials.data());
  plan->Run(context, args);
  context.Synchronize();
  return {FromDevice(pooled, dtype), FromDevice(partials, DType::kF32), plan->ScorePartials()};
}

// Value and bound of the convolution's error, both NCHW.
struct Map {
  Doubles value, error;
};

Map Expected(const ConvParams& p, const Inputs& inputs) {
  Map map{reference::ConvForward(p, inputs.src, inputs.weight, inputs.bias),
          reference::ConvForward(p, Absolute(inputs.src), Absolute(inputs.weight),
                                 Absolute(inputs.bias))};
  const double unit = 2 * (p.src.c * 9 + 3) * 0x1p-24;
  for (double& error : map.error) error *= unit;
  for (double& value : map.value) value = p.relu ? std::max(value, 0.0) : value;
  return map;
}

void ExpectPooled(const ConvParams& p, const Map& map, const Floats& actual, DType dtype) {
  const Shape s = p.Dst(), pooled = p.Pooled();
  ASSERT_EQ(static_cast<int64_t>(actual.size()), pooled.Count());
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c)
      for (int64_t y = 0; y < pooled.h; ++y)
        for (int64_t x = 0; x < pooled.w; ++x) {
          double most = -std::numeric_limits<double>::infinity(), error = 0;
          for (int64_t v = 2 * y; v < std::min(2 * y + 2, s.h); ++v)
            for (int64_t u = 2 * x; u < std::min(2 * x + 2, s.w); ++u) {
              const int64_t at = Offset(s, Format::kNCHW, n, c, v, u);
              most = std::max(most, map.value[at]);
              error = std::max(error, map.error[at]);
            }
          const double bound = error + (std::fabs(most) + error) * UnitRoundoff(dtype);
          ASSERT_NEAR(actual[Offset(pooled, Format::kNHWC, n, c, y, x)], most, bound)
              << "pooled image " << n << " channel " << c << " at " << y << ", " << x;
        }
}

void ExpectScores(const ConvParams& p, const Map& map, const Floats& score_weight,
                  const Outputs& out) {
  const Shape s = p.Dst(), scores = {s.n, p.score_channels, s.h, s.w};
  ASSERT_EQ(static_cast<int64_t>(out.partials.size()), out.count * scores.Count());
  const double unit = (p.out_channels + out.count + 2) * 0x1p-24;
  for (int64_t at = 0; at < scores.Count(); ++at) {
    const int64_t pixel = at % (s.h * s.w), k = at / (s.h * s.w) % p.score_channels;
    const int64_t n = at / (s.h * s.w) / p.score_channels;
    double wanted = 0, absolute = 0, error = 0;
    for (int64_t c = 0; c < s.c; ++c) {
      const int64_t from = (n * s.c + c) * s.h * s.w + pixel;
      const double weight = score_weight[k * s.c + c];
      wanted += weight * map.value[from];
      absolute += std::fabs(weight * map.value[from]);
      error += std::fabs(weight) * map.error[from];
    }
    float actual = 0;
    for (int64_t i = 0; i < out.count; ++i) actual += out.partials[i * scores.Count() + at];
    ASSERT_NEAR(actual, wanted, error + (absolute + error) * unit)
        << "score " << k << " of image " << n << " at pixel " << pixel;
  }
}

ConvParams Params(Shape src, int64_t out_channels, bool pooled, int64_t score_channels) {
  ConvParams p = {.src = src,
                  .out_channels = out_channels,
                  .kernel_h = 3,
                  .kernel_w = 3,
                  .pad_h = 1,
                  .pad_w = 1};
  p.relu = p.allow_tf32 = true;
  p.pooled = pooled;
  p.score_channels = score_channels;
  return p;
}

class ConvStageEnd : public testing::TestWithParam<std::tuple<std::string, DType>> {};

TEST_P(ConvStageEnd, PooledMapAndScores) {
  const auto& [engine, dtype] = GetParam();
  std::vector<ConvParams> cases = {
      Params({2, 24, 17, 19}, 72, true, 4),  // odd sizes, two images, outputs that fill no tile
      Params({1, 72, 6, 16}, 136, true, 1),  // several tiles of outputs, a whole patch
      Params({1, 8, 5, 34}, 64, false, 8),   // scores only
      Params({1, 16, 7, 3}, 64, true, 0),    // pooling only
  };
  cases[3].relu = false;  // negative maxima
  for (const ConvParams& p : cases) {
    SCOPED_TRACE(ToString(p.src) + " to " + std::to_string(p.out_channels));
    const Inputs inputs(p);
    const Map map = Expected(p, inputs);
    const Outputs out = RunStageEnd(p, inputs, dtype, engine);
    EXPECT_EQ(out.count > 0, p.score_channels > 0);
    if (p.pooled) ExpectPooled(p, map, out.pooled, dtype);
    ExpectScores(p, map, inputs.score_weight, out);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Tiles, ConvStageEnd,
    testing::Combine(testing::Values("implicit_gemm_128x128", "implicit_gemm_256x128",
                                     "implicit_gemm_256x64", "implicit_gemm_128x64",
                                     "implicit_gemm_64x64"),
                     testing::Values(DType::kBF16, DType::kF16, DType::kF32)),
    [](const testing::TestParamInfo<ConvStageEnd::ParamType>& info) {
      return std::get<0>(info.param) + "_" + ToString(std::get<1>(info.param));
    });

// Engines that would write the whole map are not offered.
TEST(ConvStageEndEngines, OthersAreLeftOut) {
  const Context context(Device::kCuda);
  const ConvFormats formats = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
  for (const std::string& name : EligibleConvEngines(context, Params({1, 64, 8, 8}, 64, true, 4),
                                                     ConvDirection::kForward, formats)) {
    EXPECT_TRUE(name.starts_with("implicit_gemm")) << name;
  }
  EXPECT_THROW(EligibleConvEngines(context, Params({1, 64, 8, 8}, 64, true, 4),
                                   ConvDirection::kBackwardData, formats),
               Error);
  EXPECT_THROW(Params({1, 64, 8, 8}, 64, true, 9).Validate(), Error);
}

}  // namespace
}  // namespace lseg
