#include "tests/kernels/conv_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/runtime/buffer.h"
#include "kernels/runtime/random.h"
#include "tests/reference/conv.h"

namespace lseg {
namespace {

using Floats = std::vector<float>;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// (blocks, block size) of the channels of a format.
std::pair<int64_t, int64_t> Blocks(const Shape& s, Format format) {
  const int64_t block = format == Format::kNCHW     ? 1
                        : format == Format::kNHWC   ? s.c
                        : format == Format::kNChw8c ? 8
                                                    : 16;
  return {(s.c + block - 1) / block, block};
}

// Calls each(plain index or -1 for padding, stored index).
template <typename Each>
void ForEachStored(const Shape& s, Format format, Each each) {
  const auto [blocks, block] = Blocks(s, format);
  int64_t stored = 0;
  for (int64_t n = 0; n < s.n; ++n)
    for (int64_t b = 0; b < blocks; ++b)
      for (int64_t at = 0; at < s.h * s.w; ++at)
        for (int64_t k = 0; k < block; ++k) {
          const int64_t c = b * block + k;
          each(c < s.c ? (n * s.c + c) * s.h * s.w + at : -1, stored++);
        }
}

Floats Draw(uint64_t seed, uint64_t stream, int64_t count) {
  Random random(seed, stream);
  Floats values(count);
  for (float& value : values) value = random.Uniform(-1, 1);
  return values;
}

Floats Absolute(Floats values) {
  for (float& value : values) value = std::fabs(value);
  return values;
}

float Round(float value, DType dtype) {
  if (dtype == DType::kF16) return F16ToF32(F32ToF16(value));
  if (dtype == DType::kBF16) return BF16ToF32(F32ToBF16(value));
  return value;
}

// Relative error of rounding to a type (its smallest normal values and above).
double RoundingUnit(DType dtype) {
  return dtype == DType::kF16 ? 0x1p-11 : dtype == DType::kBF16 ? 0x1p-8 : 0;
}

// Inputs as the engine takes them: see the header.
Floats Rounded(const ConvCheck& c, Floats values, DType dtype) {
  for (float& value : values) {
    if (c.integers) value = std::round(3 * value);
    value = Round(Round(value, c.products), dtype);
    if (c.params.allow_tf32) {
      value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) & 0xffffe000u);
    }
  }
  return values;
}

Floats WithSpikes(Floats values, float spike) {
  for (size_t i = 0; spike != 1 && i < values.size(); i += 50) values[i] *= spike;
  return values;
}

// The largest absolute value within `reach` pixels.
Floats LargestAround(const Shape& s, const Floats& values, int64_t reach) {
  Floats largest(values.size());
  for (int64_t at = 0; at < s.Count(); ++at) {
    const int64_t plane = at / (s.h * s.w) * s.h * s.w, y = at / s.w % s.h, x = at % s.w;
    for (int64_t v = std::max<int64_t>(y - reach, 0); v <= std::min(y + reach, s.h - 1); ++v)
      for (int64_t u = std::max<int64_t>(x - reach, 0); u <= std::min(x + reach, s.w - 1); ++u)
        largest[at] = std::max(largest[at], std::fabs(values[plane + v * s.w + u]));
  }
  return largest;
}

// Seeded inputs in plain layout; `before` is what the outputs hold before the run.
struct Data {
  explicit Data(const ConvCheck& c) {
    const ConvParams& p = c.params;
    const DType src_dtype = c.formats.src_dtype, dst_dtype = c.formats.dst_dtype;
    src = Rounded(c, WithSpikes(Draw(c.seed, 1, p.src.Count()), c.spike), src_dtype);
    for (size_t i = 0; p.relu_gradient && i < src.size(); i += 7) src[i] = 0;
    if (c.nan) src[src.size() / 2] = kNan;
    weight = Rounded(c, Draw(c.seed, 2, p.Weight().Count()), DType::kF32);
    if (p.bias) bias = Rounded(c, Draw(c.seed, 3, p.out_channels), DType::kF32);
    d_dst = Rounded(c, WithSpikes(Draw(c.seed, 4, p.Dst().Count()), c.spike), dst_dtype);
    src_before = Rounded(c, Draw(c.seed, 5, p.src.Count()), src_dtype);
    weight_before = Draw(c.seed, 6, p.Weight().Count());
    bias_before = Draw(c.seed, 7, p.out_channels);
  }
  Floats src, weight, bias, d_dst, src_before, weight_before, bias_before;
};

Floats Before(const ConvCheck& c, const Shape& shape, Format format, const Floats& plain) {
  if (c.mode == GradMode::kAdd) return FromPlain(shape, format, plain);
  return Floats(StorageCount(shape, format), kNan);
}

// Values in memory of the device, as elements of a type.
Buffer Upload(Device device, const Floats& values, DType dtype) {
  std::vector<char> bytes(values.size() * SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    char* at = &bytes[i * SizeOf(dtype)];
    const uint16_t bits = dtype == DType::kF16 ? F32ToF16(values[i]) : F32ToBF16(values[i]);
    std::memcpy(at, dtype == DType::kF32 ? static_cast<const void*>(&values[i]) : &bits,
                SizeOf(dtype));
  }
  Buffer buffer(device, bytes.size());
  CopyToDevice(device, buffer.data(), bytes.data(), buffer.bytes());
  return buffer;
}

Floats Download(Device device, const Buffer& buffer, DType dtype) {
  std::vector<char> bytes(buffer.bytes());
  CopyToHost(device, bytes.data(), buffer.data(), buffer.bytes());
  Floats values(bytes.size() / SizeOf(dtype));
  for (size_t i = 0; i < values.size(); ++i) {
    const char* at = &bytes[i * SizeOf(dtype)];
    uint16_t bits = 0;
    std::memcpy(dtype == DType::kF32 ? static_cast<void*>(&values[i]) : &bits, at, SizeOf(dtype));
    if (dtype == DType::kF16) values[i] = F16ToF32(bits);
    if (dtype == DType::kBF16) values[i] = BF16ToF32(bits);
  }
  return values;
}

DType OutputType(const ConvCheck& c) {
  if (c.direction == ConvDirection::kForward) return c.formats.dst_dtype;
  return c.direction == ConvDirection::kBackwardData ? c.formats.src_dtype : DType::kF32;
}

// What the main output holds before the run.
Floats OutputBefore(const ConvCheck& c, const Data& data) {
  if (c.direction == ConvDirection::kForward) {
    return Floats(StorageCount(c.params.Dst(), c.formats.dst), kNan);
  }
  if (c.direction == ConvDirection::kBackwardData) {
    return Before(c, c.params.src, c.formats.src, data.src_before);
  }
  return Before(c, c.params.Weight(), Format::kNCHW, data.weight_before);
}

// The output of a run in plain layout; d_weight is followed by d_bias.
Floats Run(const ConvCheck& c, const Data& data) {
  const ConvParams& p = c.params;
  Context context(c.device, c.threads);
  const auto plan = MakeConvPlan(context, p, c.direction, c.formats, c.engine);
  const auto upload = [&](const Floats& values, DType dtype = DType::kF32) {
    return Upload(c.device, values, dtype);
  };
  const Floats nans(plan->WorkspaceBytes(c.mode) / 4 + 1, std::bit_cast<float>(0xffffffffu));
  const Buffer workspace = upload(nans), packed(c.device, plan->PackedWeightBytes());
  const Buffer weight = upload(data.weight), bias = upload(data.bias);
  const Buffer src = upload(FromPlain(p.src, c.formats.src, data.src), c.formats.src_dtype);
  const Buffer d_dst = upload(FromPlain(p.Dst(), c.formats.dst, data.d_dst), c.formats.dst_dtype);
  const Buffer out = upload(OutputBefore(c, data), OutputType(c));
  const Buffer d_bias =
      upload(Before(c, {1, p.out_channels, 1, 1}, Format::kNCHW, data.bias_before));
  ConvArgs args;
  args.workspace = workspace.data();
  args.weight = weight.data();
  if (packed.bytes() > 0) {
    plan->PackWeights(context, static_cast<const float*>(weight.data()), packed.data());
    args.weight = packed.data();
  }
  args.d_src_mode = args.d_weight_mode = c.mode;
  const bool forward = c.direction == ConvDirection::kForward;
  if (c.direction != ConvDirection::kBackwardData || p.relu_gradient) args.src = src.data();
  if (forward) args.bias = static_cast<const float*>(bias.data());
  (forward ? args.dst : args.d_src) = out.data();
  if (!forward) args.d_dst = d_dst.data();
  if (c.direction == ConvDirection::kBackwardWeights) {
    args.d_src = nullptr;
    args.d_weight = static_cast<float*>(out.data());
    args.d_bias = p.bias ? static_cast<float*>(d_bias.data()) : nullptr;
  }
  plan->Run(context, args);
  context.Synchronize();
  Floats result = Download(c.device, out, OutputType(c));
  if (forward) return ToPlain(p.Dst(), c.formats.dst, result);
  if (args.d_src != nullptr) return ToPlain(p.src, c.formats.src, result);
  if (p.bias) {
    const Floats values = Download(c.device, d_bias, DType::kF32);
    result.insert(result.end(), values.begin(), values.end());
  }
  return result;
}

bool IsMasked(const ConvCheck& c, const Data& data, size_t element) {
  return c.params.relu_gradient && c.direction == ConvDirection::kBackwardData &&
         !(data.src[element] > 0);
}

// What the oracle says of the same run (relu and its gradient not applied); with absolute inputs,
// the scale.
std::vector<double> Expected(const ConvCheck& c, const Data& data) {
  const ConvParams& p = c.params;
  std::vector<double> out, d_bias;
  Floats before;
  switch (c.direction) {
    case ConvDirection::kForward:
      return reference::ConvForward(p, data.src, data.weight, data.bias);
    case ConvDirection::kBackwardData:
      out = reference::ConvBackwardData(p, data.d_dst, data.weight);
      before = data.src_before;
      break;
    case ConvDirection::kBackwardWeights:
      out = reference::ConvBackwardWeights(p, data.src, data.d_dst);
      before = data.weight_before;
      if (p.bias) {
        d_bias = reference::ConvBackwardBias(p, data.d_dst);
        out.insert(out.end(), d_bias.begin(), d_bias.end());
        before.insert(before.end(), data.bias_before.begin(), data.bias_before.end());
      }
      break;
  }
  for (size_t i = 0; c.mode == GradMode::kAdd && i < out.size(); ++i) out[i] += before[i];
  return out;
}

int64_t LongestSum(const ConvCheck& c) {
  const ConvParams& p = c.params;
  const int64_t taps = p.kernel_h * p.kernel_w;
  if (c.direction == ConvDirection::kForward) return p.src.c / p.group * taps;
  if (c.direction == ConvDirection::kBackwardData) return p.out_channels / p.group * taps;
  return p.Dst().n * p.Dst().h * p.Dst().w;
}

}  // namespace

std::vector<float> FromPlain(const Shape& shape, Format format, const std::vector<float>& plain) {
  Floats stored(StorageCount(shape, format));
  ForEachStored(shape, format,
                [&](int64_t from, int64_t to) { stored[to] = from < 0 ? 0 : plain[from]; });
  return stored;
}

std::vector<float> ToPlain(const Shape& shape, Format format, const std::vector<float>& stored) {
  Floats plain(shape.Count());
  int64_t dirty = 0;
  ForEachStored(shape, format, [&](int64_t to, int64_t from) {
    if (to >= 0) plain[to] = stored[from];
    if (to < 0 && stored[from] != 0) ++dirty;
  });
  EXPECT_EQ(dirty, 0) << "padding channels that are not zero";
  return plain;
}

std::string Describe(const ConvCheck& c) {
  const ConvParams& p = c.params;
  std::ostringstream out;
  out << c.engine << ' ' << ToString(c.direction) << ' ' << ToString(p.src) << " -> "
      << p.out_channels << " kernel " << p.kernel_h << 'x' << p.kernel_w << " stride " << p.stride_h
      << ',' << p.stride_w << " pad " << p.pad_h << ',' << p.pad_w << " dilation " << p.dilation_h
      << ',' << p.dilation_w << " group " << p.group << (p.bias ? " bias" : "")
      << (p.relu ? " relu" : "") << (p.relu_gradient ? " relu gradient " : " ")
      << ToString(c.formats.src) << " " << ToString(c.formats.src_dtype) << " to "
      << ToString(c.formats.dst) << " " << ToString(c.formats.dst_dtype)
      << (p.allow_tf32 ? " tf32" : "") << (c.mode == GradMode::kAdd ? " add" : "");
  return out.str();
}

std::vector<float> RunConv(const ConvCheck& check) { return Run(check, Data(check)); }

ConvError RunConvCheck(const ConvCheck& check) {
  SCOPED_TRACE(Describe(check));
  const Data data(check);
  Data absolute(check);
  for (Floats* values : {&absolute.src, &absolute.weight, &absolute.bias, &absolute.d_dst,
                         &absolute.src_before, &absolute.weight_before, &absolute.bias_before}) {
    *values = Absolute(*values);
  }
  absolute.src = LargestAround(check.params.src, absolute.src, check.reach);
  absolute.d_dst = LargestAround(check.params.Dst(), absolute.d_dst, check.reach);
  const Floats actual = Run(check, data);
  const std::vector<double> expected = Expected(check, data), scale = Expected(check, absolute);
  EXPECT_EQ(actual.size(), expected.size());
  ConvError error{0, LongestSum(check)};
  const bool relu = check.params.relu && check.direction == ConvDirection::kForward;
  const double unit = RoundingUnit(OutputType(check));
  int64_t not_finite = 0, masked_wrongly = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double wanted = relu ? std::max(expected[i], 0.0) : expected[i];
    if (!std::isfinite(actual[i])) ++not_finite;
    if (IsMasked(check, data, i)) {
      masked_wrongly += actual[i] != 0;
      continue;
    }
    if (scale[i] == 0 && check.reach == 0) {
      EXPECT_EQ(actual[i], 0) << "element " << i << " reads padding only";
      continue;
    }
    // |rounded - wanted| <= |exact - wanted| (1 + unit) + unit |wanted|, and in f16 2^-25 at 0
    const double most = unit * std::fabs(wanted) + (unit > 0 ? 0x1p-25 : 0);
    const double off = std::max(std::fabs(actual[i] - wanted) - most, 0.0) / (1 + unit);
    error.units = std::max(error.units, off / scale[i] * 0x1p24);
  }
  EXPECT_EQ(not_finite, 0) << "elements that are not finite";
  EXPECT_EQ(masked_wrongly, 0) << "gradients where the ReLU let nothing through";
  return error;
}

void ExpectConvExact(const ConvCheck& check) {
  const ConvError error = RunConvCheck(check);
  EXPECT_LE(error.units, error.products + 3) << Describe(check);
}

void ExpectConvExactOnTensorCores(const ConvCheck& check) {
  const ConvError error = RunConvCheck(check);
  EXPECT_LE(error.units, 2 * (error.products + 3)) << Describe(check);
}

void ExpectSameOnThreads(ConvCheck check, std::initializer_list<int> threads) {
  check.threads = 1;
  const std::vector<float> one = RunConv(check);
  for (const int count : threads) {
    check.threads = count;
    EXPECT_EQ(one, RunConv(check)) << Describe(check) << ", " << count << " threads";
  }
}

}  // namespace lseg
