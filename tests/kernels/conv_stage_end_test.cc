// The end of a stage: pooled map and scores that come out of a convolution in place of its output,
// against the double oracle.
//
// An element of the convolution is off by at most u = 2 (k + 3) 2^-24 of the sum of its absolute
// products (k of them, in f32, on tensor cores; see conv_check.h; Winograd's bound, 32 2^-24 for
// data without structure as here, is below that for 8 channels and more). ReLU and maxima do not
// enlarge it; the pooled map is then rounded once to its type. A score adds up O such elements
// times weights, in f32: (O + partials + 2) 2^-24 of the sum of their absolute values on top. What
// onednn_rows and AMX's engine add up was rounded to the map's type. Winograd in bf16 gets small
// integers, which it computes without an error.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/conv.h"
#include "kernels/runtime/buffer.h"
#include "kernels/runtime/random.h"
#include "tests/bf16.h"
#include "tests/device.h"
#include "tests/kernels/wgmma.h"
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
Floats Draw(uint64_t stream, int64_t count, bool integers) {
  Random random(1, stream);
  Floats values(count);
  for (float& value : values) {
    value = random.Uniform(-1, 1);
    value = integers ? std::round(3 * value) : Round(value, DType::kBF16);
  }
  return values;
}

Floats Absolute(Floats values) {
  for (float& value : values) value = std::fabs(value);
  return values;
}

// An engine in its format and type.
struct Engine {
  std::string name;
  Device device;
  Format format;
  DType dtype;
  bool integers = false;  // inputs are integers of -3 to 3
};

// In the names of tests, where GoogleTest would print its bytes.
void PrintTo(const Engine& engine, std::ostream* out) { *out << engine.name; }

Buffer ToDevice(Device device, const void* from, int64_t bytes) {
  Buffer buffer(device, bytes);
  CopyToDevice(device, buffer.data(), from, bytes);
  return buffer;
}

// NCHW to elements of a format (which the channels fill) and a type, on the device.
Buffer Activations(const Engine& engine, const Shape& s, const Floats& plain) {
  const DType dtype = engine.dtype;
  std::vector<float> wide(s.Count());
  std::vector<uint16_t> narrow(s.Count());
  for (int64_t n = 0, at = 0; n < s.n; ++n)
    for (int64_t c = 0; c < s.c; ++c)
      for (int64_t y = 0; y < s.h; ++y)
        for (int64_t x = 0; x < s.w; ++x, ++at) {
          const int64_t to = Offset(s, engine.format, n, c, y, x);
          wide[to] = plain[at];
          narrow[to] = dtype == DType::kF16 ? F32ToF16(plain[at]) : F32ToBF16(plain[at]);
        }
  return dtype == DType::kF32 ? ToDevice(engine.device, wide.data(), s.Count() * 4)
                              : ToDevice(engine.device, narrow.data(), s.Count() * 2);
}

// Elements of a type on the device as they lie.
Floats FromDevice(Device device, const Buffer& buffer, DType dtype) {
  Floats values(buffer.bytes() / SizeOf(dtype));
  if (dtype == DType::kF32) {
    CopyToHost(device, values.data(), buffer.data(), buffer.bytes());
    return values;
  }
  std::vector<uint16_t> bits(values.size());
  CopyToHost(device, bits.data(), buffer.data(), buffer.bytes());
  for (size_t i = 0; i < bits.size(); ++i) {
    values[i] = dtype == DType::kF16 ? F16ToF32(bits[i]) : BF16ToF32(bits[i]);
  }
  return values;
}

Buffer FilledWithNan(Device device, int64_t bytes) {
  const std::vector<uint8_t> ones(bytes, 0xff);
  return ToDevice(device, ones.data(), bytes);
}

struct Inputs {
  Inputs(const ConvParams& p, bool integers)
      : src(Draw(1, p.src.Count(), integers)),
        weight(Draw(2, p.Weight().Count(), integers)),
        bias(Draw(3, p.out_channels, integers)),
        score_weight(Draw(4, p.score_channels * p.out_channels, integers)) {}
  Floats src, weight, bias, score_weight;
};

struct Outputs {
  Floats pooled, partials;
  int64_t count = 0;  // of the partials
};

Outputs RunStageEnd(const ConvParams& p, const Inputs& inputs, const Engine& engine) {
  const Device device = engine.device;
  const DType dtype = engine.dtype;
  Context context(device);
  const ConvFormats formats = {engine.format, engine.format, dtype, dtype};
  const auto plan = MakeConvPlan(context, p, ConvDirection::kForward, formats, engine.name);
  const Buffer src = Activations(engine, p.src, inputs.src);
  const auto upload = [&](const Floats& from) {
    return ToDevice(device, from.data(), from.size() * 4);
  };
  const Buffer weight = upload(inputs.weight), bias = upload(inputs.bias);
  const Buffer score_weight = upload(inputs.score_weight);
  const Buffer packed(device, plan->PackedWeightBytes());
  plan->PackWeights(context, static_cast<const float*>(weight.data()), packed.data());
  const Shape dst = p.Dst();
  const Buffer pooled = FilledWithNan(device, p.pooled ? p.Pooled().Count() * SizeOf(dtype) : 0);
  const Buffer partials =
      FilledWithNan(device, plan->ScorePartials() * dst.n * p.score_channels * dst.h * dst.w * 4);
  const Buffer workspace(device, plan->WorkspaceBytes(GradMode::kWrite));
  ConvArgs args;
  args.src = src.data();
  args.weight = packed.data();
  args.bias = static_cast<const float*>(bias.data());
  args.pooled = pooled.data();
  args.score_weight = static_cast<const float*>(score_weight.data());
  args.score_partials = static_cast<float*>(partials.data());
  args.workspace = workspace.data();
  plan->Run(context, args);
  context.Synchronize();
  return {FromDevice(device, pooled, dtype), FromDevice(device, partials, DType::kF32),
          plan->ScorePartials()};
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

void ExpectPooled(const ConvParams& p, const Map& map, const Floats& actual, const Engine& engine) {
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
          const double bound = error + (std::fabs(most) + error) * UnitRoundoff(engine.dtype);
          ASSERT_NEAR(actual[Offset(pooled, engine.format, n, c, y, x)], most, bound)
              << "pooled image " << n << " channel " << c << " at " << y << ", " << x;
        }
}

void ExpectScores(const ConvParams& p, const Map& map, const Floats& score_weight,
                  const Outputs& out, double rounding) {
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
      error += std::fabs(weight) * (map.error[from] + std::fabs(map.value[from]) * rounding);
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

constexpr char kAmx[] = "implicit_gemm_amx";

// AMX's engine takes multiples of 32 channels.
void FitChannels(const Engine& engine, ConvParams& p) {
  if (engine.name != kAmx) return;
  p.src.c = (p.src.c + 31) / 32 * 32;
  p.out_channels = (p.out_channels + 31) / 32 * 32;
}

class ConvStageEnd : public testing::TestWithParam<Engine> {};

TEST_P(ConvStageEnd, PooledMapAndScores) {
  const Engine& engine = GetParam();
  LSEG_SKIP_WITHOUT(engine.device);
  if (engine.name.starts_with("wgmma")) LSEG_SKIP_WITHOUT_WGMMA();
  if (engine.name == "winograd2x3_bf16") LSEG_SKIP_WITHOUT_AVX512_BF16();
  if (engine.name == "onednn_rows") LSEG_SKIP_WITHOUT_AVX512_BF16();
  if (engine.name == kAmx) LSEG_SKIP_WITHOUT_AMX_BF16();
  std::vector<ConvParams> cases = {
      Params({2, 32, 17, 19}, 80, true, 4),  // odd sizes, two images, outputs that fill no tile
      Params({1, 80, 6, 16}, 144, true, 1),  // several tiles of outputs, a whole patch
      Params({1, 16, 5, 34}, 64, false, 8),  // scores only
      Params({1, 16, 7, 3}, 64, true, 0),    // pooling only
  };
  cases[3].relu = false;  // negative maxima
  for (ConvParams p : cases) {
    FitChannels(engine, p);
    SCOPED_TRACE(ToString(p.src) + " to " + std::to_string(p.out_channels));
    const Inputs inputs(p, engine.integers);
    const Map map = Expected(p, inputs);
    const Outputs out = RunStageEnd(p, inputs, engine);
    EXPECT_EQ(out.count > 0, p.score_channels > 0);
    if (p.pooled) ExpectPooled(p, map, out.pooled, engine);
    const bool rounded = engine.name == "onednn_rows" || engine.name == kAmx;
    ExpectScores(p, map, inputs.score_weight, out, rounded ? UnitRoundoff(engine.dtype) : 0);
  }
}

// A NaN in the middle of the source shows in the maxima and the scores around it.
TEST_P(ConvStageEnd, NansShow) {
  const Engine& engine = GetParam();
  LSEG_SKIP_WITHOUT(engine.device);
  if (engine.name.starts_with("wgmma")) LSEG_SKIP_WITHOUT_WGMMA();
  if (engine.name == "winograd2x3_bf16") LSEG_SKIP_WITHOUT_AVX512_BF16();
  if (engine.name == "onednn_rows") LSEG_SKIP_WITHOUT_AVX512_BF16();
  if (engine.name == kAmx) LSEG_SKIP_WITHOUT_AMX_BF16();
  if (engine.name == "onednn_rows") GTEST_SKIP() << "oneDNN's ReLU may make a NaN 0";
  ConvParams p = Params({1, 16, 9, 20}, 64, true, 4);
  FitChannels(engine, p);
  Inputs inputs(p, engine.integers);
  const int64_t y = 4, x = 9;
  inputs.src[Offset(p.src, Format::kNCHW, 0, 7, y, x)] = std::numeric_limits<float>::quiet_NaN();
  const Outputs out = RunStageEnd(p, inputs, engine);
  const Shape pooled = p.Pooled(), scores = {1, p.score_channels, p.src.h, p.src.w};
  for (int64_t v = y - 1; v <= y + 1; ++v) {
    for (int64_t u = x - 1; u <= x + 1; ++u) {
      for (int64_t c = 0; c < pooled.c; ++c) {
        ASSERT_TRUE(std::isnan(out.pooled[Offset(pooled, engine.format, 0, c, v / 2, u / 2)]))
            << "channel " << c << " at " << v << ", " << u;
      }
      for (int64_t k = 0; k < scores.c; ++k) {
        float sum = 0;
        for (int64_t i = 0; i < out.count; ++i) {
          sum += out.partials[i * scores.Count() + Offset(scores, Format::kNCHW, 0, k, v, u)];
        }
        ASSERT_TRUE(std::isnan(sum)) << "score " << k << " at " << v << ", " << u;
      }
    }
  }
}

std::vector<Engine> EnginesOf(Device device) {
  if (device == Device::kCpu) {
    return {{"winograd4x3", device, Format::kNChw8c, DType::kF32},
            {"winograd4x3", device, Format::kNChw16c, DType::kF32},
            {"winograd2x3", device, Format::kNChw16c, DType::kF32},
            {"winograd2x3_bf16", device, Format::kNHWC, DType::kBF16, true},
            {"winograd4x3_bf16", device, Format::kNHWC, DType::kBF16},
            {kAmx, device, Format::kNHWC, DType::kBF16},
            {"onednn_rows", device, Format::kNHWC, DType::kBF16}};
  }
  std::vector<Engine> engines;
  for (const char* tile : {"128x128", "256x128", "256x64", "128x64", "64x64"}) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      engines.push_back({std::string("implicit_gemm_") + tile, device, Format::kNHWC, dtype});
    }
  }
  return engines;
}

std::vector<Engine> WgmmaEngines() {
  std::vector<Engine> engines;
  for (const char* tile : {"256x128", "128x128", "256x64"}) {
    for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
      engines.push_back({std::string("wgmma_gemm_") + tile, Device::kCuda, Format::kNHWC, dtype});
    }
  }
  return engines;
}

std::string NameOf(const testing::TestParamInfo<Engine>& info) {
  return info.param.name + "_" + ToString(info.param.format) + "_" + ToString(info.param.dtype);
}

INSTANTIATE_TEST_SUITE_P(Cpu, ConvStageEnd, testing::ValuesIn(EnginesOf(Device::kCpu)), NameOf);
INSTANTIATE_TEST_SUITE_P(Cuda, ConvStageEnd, testing::ValuesIn(EnginesOf(Device::kCuda)), NameOf);
INSTANTIATE_TEST_SUITE_P(CudaWgmma, ConvStageEnd, testing::ValuesIn(WgmmaEngines()), NameOf);

class ConvStageEndEngines : public testing::TestWithParam<Device> {};

// Engines that would write the whole map are not offered.
TEST_P(ConvStageEndEngines, OthersAreLeftOut) {
  LSEG_SKIP_WITHOUT(GetParam());
  const bool cpu = GetParam() == Device::kCpu;
  const Context context(GetParam());
  const Format format = cpu ? Format::kNChw8c : Format::kNHWC;
  const DType dtype = cpu ? DType::kF32 : DType::kBF16;
  const ConvFormats formats = {format, format, dtype, dtype};
  const ConvParams params = Params({1, 64, 8, 8}, 64, true, 4);
  for (const std::string& name :
       EligibleConvEngines(context, params, ConvDirection::kForward, formats)) {
    EXPECT_TRUE(name.starts_with(cpu ? "winograd" : "implicit_gemm") ||
                (!cpu && name.starts_with("wgmma_gemm")))
        << name;
  }
  EXPECT_THROW(EligibleConvEngines(context, params, ConvDirection::kBackwardData, formats), Error);
  EXPECT_THROW(Params({1, 64, 8, 8}, 64, true, 9).Validate(), Error);
}

LSEG_ON_ALL_DEVICES(ConvStageEndEngines);

}  // namespace
}  // namespace lseg
