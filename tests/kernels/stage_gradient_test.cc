// A stage's gradient against its definition in double: every type, odd sizes, with and without
// pooling, ReLU and bias, written and added.
#include "kernels/stage_gradient.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::HasSubstr;

StageGradientParams Make(Shape map, int64_t scores, bool pooled, bool relu, DType dtype) {
  StageGradientParams p;
  p.map = map;
  p.scores = scores;
  p.pooled = pooled;
  p.relu = relu;
  p.dtype = dtype;
  return p;
}

// Values by (n, c, h, w) as they lie in memory.
template <class T>
std::vector<T> Laid(const Shape& shape, const std::vector<T>& values) {
  std::vector<T> laid(values.size());
  size_t at = 0;
  for (int64_t n = 0; n < shape.n; ++n)
    for (int64_t c = 0; c < shape.c; ++c)
      for (int64_t h = 0; h < shape.h; ++h)
        for (int64_t w = 0; w < shape.w; ++w) {
          laid[static_cast<size_t>(Offset(shape, Format::kNHWC, n, c, h, w))] = values[at++];
        }
  return laid;
}

struct Data {
  explicit Data(const StageGradientParams& p) : params(p) {
    map = Rounded(Draw(1, p.map.Count()), p.dtype);
    if (p.relu) {
      for (float& value : map) value = std::max(value, 0.0f);
    }
    d_score = Draw(2, p.map.n * p.scores * p.map.h * p.map.w);
    weight = Draw(3, p.scores * p.map.c);
    const Shape pooled = p.Pooled();
    d_pooled = Rounded(Draw(4, pooled.Count()), p.dtype);
    // A position within the window, which at an odd border has fewer.
    Random random(7, 0);
    for (int64_t at = 0; at < pooled.Count(); ++at) {
      const int64_t y = at / pooled.w % pooled.h * 2, x = at % pooled.w * 2;
      const int64_t rows = std::min<int64_t>(2, p.map.h - y);
      const int64_t columns = std::min<int64_t>(2, p.map.w - x);
      const auto row = static_cast<int64_t>(random.Uniform(0, 1) * static_cast<float>(rows));
      const auto column = static_cast<int64_t>(random.Uniform(0, 1) * static_cast<float>(columns));
      argmax.push_back(
          static_cast<uint8_t>(std::min(row, rows - 1) * 2 + std::min(column, columns - 1)));
    }
  }
  StageGradientParams params;
  std::vector<float> map, d_score, weight, d_pooled;
  std::vector<uint8_t> argmax;
};

// In double, by (n, c, h, w); and the sums of the absolute values.
struct Expected {
  explicit Expected(const Data& data) {
    const StageGradientParams& p = data.params;
    const Shape& m = p.map;
    const Shape pooled = p.Pooled();
    const auto at = [](const Shape& s, int64_t n, int64_t c, int64_t h, int64_t w) {
      return static_cast<size_t>(Offset(s, Format::kNCHW, n, c, h, w));
    };
    const Shape scores{m.n, p.scores, m.h, m.w};
    d_weight.assign(data.weight.size(), 0);
    weight_scale = d_weight;
    d_bias.assign(static_cast<size_t>(p.scores), 0);
    bias_scale = d_bias;
    for (int64_t n = 0; n < m.n; ++n)
      for (int64_t c = 0; c < m.c; ++c)
        for (int64_t y = 0; y < m.h; ++y)
          for (int64_t x = 0; x < m.w; ++x) {
            const double value = data.map[at(m, n, c, y, x)];
            double sum = 0, scale = 0;
            for (int64_t k = 0; k < p.scores; ++k) {
              const double gradient = data.d_score[at(scores, n, k, y, x)];
              const auto pair = static_cast<size_t>(k * m.c + c);
              sum += data.weight[pair] * gradient;
              scale += std::fabs(data.weight[pair] * gradient);
              d_weight[pair] += value * gradient;
              weight_scale[pair] += std::fabs(value * gradient);
              if (c > 0) continue;
              d_bias[static_cast<size_t>(k)] += gradient;
              bias_scale[static_cast<size_t>(k)] += std::fabs(gradient);
            }
            if (p.pooled) {
              const size_t window = at(pooled, n, c, y / 2, x / 2);
              if (data.argmax[window] == y % 2 * 2 + x % 2) {
                sum += data.d_pooled[window];
                scale += std::fabs(data.d_pooled[window]);
              }
            }
            d_map.push_back(p.relu && value <= 0 ? 0 : sum);
            map_scale.push_back(scale);
          }
  }
  std::vector<double> d_map, map_scale, d_weight, weight_scale, d_bias, bias_scale;
};

struct Result {
  std::vector<float> d_map, d_weight, d_bias;
};

Result RunOp(const Data& data, bool bias, bool add) {
  const StageGradientParams& p = data.params;
  Context context(Device::kCuda);
  const TypedMemory map(context, p.dtype, Laid(p.map, data.map));
  const TypedMemory d_pooled(context, p.dtype, Laid(p.Pooled(), data.d_pooled));
  const Memory<uint8_t> argmax(context, Laid(p.Pooled(), data.argmax));
  const Memory<float> d_score(context, data.d_score), weight(context, data.weight);
  const TypedMemory d_map(context, p.dtype, std::vector<float>(data.map.size(), NAN));
  const Memory<float> d_weight(context, Before(add, 5, p.scores * p.map.c));
  const Memory<float> d_bias(context, Before(add, 6, p.scores));
  const Memory<uint8_t> workspace(
      context, std::vector<uint8_t>(static_cast<size_t>(p.WorkspaceBytes(context))));
  StageGradientArgs args;
  args.map = map.data();
  args.d_score = d_score.data();
  args.weight = weight.data();
  if (p.pooled) {
    args.d_pooled = d_pooled.data();
    args.argmax = argmax.data();
  }
  args.d_map = d_map.data();
  args.d_weight = d_weight.data();
  args.d_bias = bias ? d_bias.data() : nullptr;
  args.d_weight_mode = add ? GradMode::kAdd : GradMode::kWrite;
  args.workspace = workspace.data();
  StageGradient(context, p, args);
  return {d_map.Values(), d_weight.Values(), d_bias.Values()};
}

struct Sizes {
  Shape map;
  int64_t scores;
};

TEST(CudaStageGradient, AgreesWithItsDefinition) {
  LSEG_SKIP_WITHOUT(Device::kCuda);
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    int round = 0;
    // The last two: more windows than one round of the blocks takes, of odd and even widths.
    for (const Sizes& sizes : std::vector<Sizes>{{{1, 8, 1, 1}, 1},
                                                 {{2, 24, 7, 5}, 4},
                                                 {{1, 64, 6, 8}, 5},
                                                 {{2, 40, 67, 33}, 3},
                                                 {{3, 16, 40, 66}, 4}}) {
      for (const bool pooled : {true, false}) {
        const bool relu = round % 3 != 2, bias = round % 4 != 1, add = round % 2 == 1;
        ++round;
        const Data data(Make(sizes.map, sizes.scores, pooled, relu, dtype));
        const std::string what =
            ToString(sizes.map) + " " + ToString(dtype) + (pooled ? " pooled" : "");
        const Result result = RunOp(data, bias, add);
        const Expected expected(data);
        std::vector<float> d_map;
        for (int64_t n = 0; n < sizes.map.n; ++n)
          for (int64_t c = 0; c < sizes.map.c; ++c)
            for (int64_t y = 0; y < sizes.map.h; ++y)
              for (int64_t x = 0; x < sizes.map.w; ++x) {
                const int64_t at = Offset(sizes.map, Format::kNHWC, n, c, y, x);
                d_map.push_back(result.d_map[static_cast<size_t>(at)]);
              }
        // Up to nine terms in f32, then the rounding to the type.
        ExpectNear(d_map, expected.d_map, expected.map_scale, RoundingUnit(dtype) + 10 * 0x1p-24, 0,
                   what + ", d_map");
        // Sums of up to 7920 products in parts of at most 300 in f32: their roundings, and those of
        // the parts, are of either sign, and stay far below the bound of so many.
        ExpectNear(result.d_weight,
                   add ? Add(expected.d_weight, Before(true, 5, sizes.scores * sizes.map.c))
                       : expected.d_weight,
                   expected.weight_scale, 300 * 0x1p-24, 1, what + ", d_weight");
        if (!bias) continue;
        ExpectNear(result.d_bias,
                   add ? Add(expected.d_bias, Before(true, 6, sizes.scores)) : expected.d_bias,
                   expected.bias_scale, 300 * 0x1p-24, 1, what + ", d_bias");
      }
    }
  }
}

TEST(CudaStageGradient, TheSameBitsEachTime) {
  LSEG_SKIP_WITHOUT(Device::kCuda);
  const Data data(Make({2, 40, 67, 33}, 3, true, true, DType::kBF16));
  const Result one = RunOp(data, true, false), other = RunOp(data, true, false);
  EXPECT_EQ(one.d_map, other.d_map);
  EXPECT_EQ(one.d_weight, other.d_weight);
  EXPECT_EQ(one.d_bias, other.d_bias);
}

TEST(StageGradientParamsTest, ImpossibleOnesAreRefused) {
  const auto message = [](auto change) {
    return RefusalOf(Make({1, 16, 4, 4}, 4, true, true, DType::kF32), change);
  };
  EXPECT_EQ(message([](StageGradientParams*) {}), "");
  EXPECT_THAT(message([](StageGradientParams* p) { p->map.h = 0; }), HasSubstr("is empty"));
  EXPECT_THAT(message([](StageGradientParams* p) { p->scores = 9; }),
              HasSubstr("9 score channels"));
  EXPECT_THAT(message([](StageGradientParams* p) { p->scores = 0; }),
              HasSubstr("0 score channels"));
  EXPECT_THAT(message([](StageGradientParams* p) { p->map.c = 12; }), HasSubstr("12 channels"));
  EXPECT_THAT(message([](StageGradientParams* p) { p->map.c = 520; }), HasSubstr("520 channels"));
  StageGradientParams params = Make({1, 16, 4, 4}, 4, true, true, DType::kF32);
  Context context;
  EXPECT_THROW(StageGradient(context, params, {}), Error);  // the pooling's part is missing
  params.pooled = false;
  const auto on_cpu = [&] { StageGradient(context, params, {}); };
  EXPECT_THAT(ErrorOf(on_cpu), HasSubstr("on a GPU only"));
}

}  // namespace
}  // namespace lseg
