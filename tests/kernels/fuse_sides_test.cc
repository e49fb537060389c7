// Fusion of side maps against plain loops in double: odd planes and such of whole vectors, every
// number of sides and classes, all modes.
#include "kernels/fuse_sides.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

using testing::HasSubstr;

constexpr int kMost = FuseSidesParams::kMost;

struct Data {
  explicit Data(const FuseSidesParams& p) : params(p) {
    const auto draw = [&](uint64_t first, int64_t tensors, int64_t count) {
      std::vector<std::vector<float>> drawn;
      for (int64_t i = 0; i < tensors; ++i) {
        drawn.push_back(Draw(first + static_cast<uint64_t>(i), count));
      }
      return drawn;
    };
    side = draw(100, p.sides, p.dst.Count());
    weight = draw(200, p.dst.c, p.sides);
    bias = draw(300, p.dst.c, 1);
    d_dst = Draw(400, p.dst.Count());
    d_side = draw(500, p.sides, p.dst.Count());
    d_weight = draw(600, p.dst.c, p.sides);
    d_bias = draw(700, p.dst.c, 1);
  }
  size_t ClassOf(int64_t at) const {
    return static_cast<size_t>(at / (params.dst.h * params.dst.w) % params.dst.c);
  }

  FuseSidesParams params;
  std::vector<std::vector<float>> side, weight, bias, d_side, d_weight, d_bias;  // d_*: before
  std::vector<float> d_dst;
};

// Tensors in a device's memory.
struct Tensors {
  Tensors(const Context& context, const std::vector<std::vector<float>>& values) {
    for (const std::vector<float>& tensor : values) memory.emplace_back(context, tensor);
  }
  template <class Pointer>
  void Point(Pointer (&to)[kMost]) const {
    for (size_t i = 0; i < memory.size(); ++i) to[i] = memory[i].data();
  }
  std::vector<Memory<float>> memory;
};

struct OnDevice {
  OnDevice(const Context& context, const Data& data)
      : side(context, data.side), weight(context, data.weight), bias(context, data.bias) {
    side.Point(args.side);
    weight.Point(args.weight);
    bias.Point(args.bias);
  }
  Tensors side, weight, bias;
  FuseSidesArgs args;
};

class FuseSidesTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(FuseSidesTest);

const FuseSidesParams kCases[] = {
    {{2, 4, 12, 11}, 5}, {{1, 1, 3, 3}, 1}, {{3, 8, 5, 7}, 8}, {{1, 3, 66, 64}, 2}};

// A sum of k terms in f32 is off by at most k + 1 roundings of their size (Higham, section 3.1),
// here of numbers below 1.
TEST_P(FuseSidesTest, ForwardIsTheWeighedSum) {
  for (const FuseSidesParams& params : kCases) {
    const Data data(params);
    Context context(GetParam(), 2);
    OnDevice on(context, data);
    for (const bool bias : {true, false}) {
      if (!bias) on.args.bias[0] = nullptr;
      const Memory<float> dst(context, std::vector<float>(data.d_dst.size(), NAN));
      FuseSidesForward(context, params, on.args, dst.data());
      std::vector<double> expected;
      for (int64_t at = 0; at < params.dst.Count(); ++at) {
        const size_t c = data.ClassOf(at);
        double sum = bias || c > 0 ? data.bias[c][0] : 0;
        for (size_t s = 0; s < data.side.size(); ++s) {
          sum += double{data.weight[c][s]} * data.side[s][static_cast<size_t>(at)];
        }
        expected.push_back(sum);
      }
      ExpectNear(dst.Values(), expected, (params.sides + 2) * 0x1p-24, params.sides + 1,
                 ToString(params.dst));
    }
  }
}

TEST_P(FuseSidesTest, BackwardGivesEveryGradient) {
  int round = 0;
  for (const FuseSidesParams& params : kCases) {
    const Data data(params);
    Context context(GetParam(), 2);
    const OnDevice on(context, data);
    const Memory<float> d_dst(context, data.d_dst);
    const Tensors d_side(context, data.d_side), d_weight(context, data.d_weight),
        d_bias(context, data.d_bias);
    FuseSidesGradients gradients;
    d_side.Point(gradients.d_side);
    d_weight.Point(gradients.d_weight);
    d_bias.Point(gradients.d_bias);
    constexpr GradMode kModes[] = {GradMode::kWrite, GradMode::kAdd, GradMode::kSkip};
    for (int i = 0; i < kMost; ++i) {
      gradients.d_side_mode[i] = kModes[(i + round) % 3];
      gradients.d_weight_mode[i] = kModes[(i + round + 1) % 3];
      gradients.d_bias_mode[i] = kModes[(i + round + 2) % 3];
    }
    ++round;
    FuseSidesBackward(context, params, on.args, d_dst.data(), gradients);
    const auto start = [](GradMode mode, const std::vector<float>& before) {
      std::vector<double> values(before.begin(), before.end());
      if (mode == GradMode::kWrite) std::fill(values.begin(), values.end(), 0.0);
      return values;
    };
    for (size_t s = 0; s < data.side.size(); ++s) {
      std::vector<double> expected = start(gradients.d_side_mode[s], data.d_side[s]);
      for (size_t at = 0; at < expected.size(); ++at) {
        if (gradients.d_side_mode[s] == GradMode::kSkip) break;
        expected[at] +=
            double{data.weight[data.ClassOf(static_cast<int64_t>(at))][s]} * data.d_dst[at];
      }
      ExpectNear(d_side.memory[s].Values(), expected, 2 * 0x1p-24, 2, "d_side");
    }
    const double pixels = static_cast<double>(params.dst.n * params.dst.h * params.dst.w);
    for (size_t c = 0; c < data.weight.size(); ++c) {
      std::vector<double> weights = start(gradients.d_weight_mode[c], data.d_weight[c]);
      std::vector<double> bias = start(gradients.d_bias_mode[c], data.d_bias[c]);
      for (size_t at = 0; at < data.d_dst.size(); ++at) {
        if (data.ClassOf(static_cast<int64_t>(at)) != c) continue;
        if (gradients.d_bias_mode[c] != GradMode::kSkip) bias[0] += data.d_dst[at];
        for (size_t s = 0; s < weights.size(); ++s) {
          if (gradients.d_weight_mode[c] == GradMode::kSkip) break;
          weights[s] += double{data.side[s][at]} * data.d_dst[at];
        }
      }
      ExpectNear(d_weight.memory[c].Values(), weights, (pixels + 2) * 0x1p-24, pixels, "d_weight");
      ExpectNear(d_bias.memory[c].Values(), bias, (pixels + 2) * 0x1p-24, pixels, "d_bias");
    }
  }
}

TEST_P(FuseSidesTest, RepeatsBitForBit) {
  const FuseSidesParams params = {{2, 4, 130, 90}, 5};
  const Data data(params);
  std::vector<float> first;
  for (int threads = 1; threads <= 3; ++threads) {
    Context context(GetParam(), threads);
    const OnDevice on(context, data);
    const Memory<float> d_dst(context, data.d_dst);
    const Tensors d_weight(context, data.d_weight);
    FuseSidesGradients gradients;
    d_weight.Point(gradients.d_weight);
    for (int i = 0; i < kMost; ++i) {
      gradients.d_side_mode[i] = gradients.d_bias_mode[i] = GradMode::kSkip;
      gradients.d_weight_mode[i] = GradMode::kWrite;
    }
    FuseSidesBackward(context, params, on.args, d_dst.data(), gradients);
    std::vector<float> all;
    for (const Memory<float>& weight : d_weight.memory) {
      const std::vector<float> values = weight.Values();
      all.insert(all.end(), values.begin(), values.end());
    }
    if (threads == 1) first = all;
    EXPECT_EQ(all, first) << threads;
  }
}

TEST(FuseSidesParamsTest, ImpossibleOnesAreRefused) {
  const FuseSidesParams good = {{1, 4, 2, 2}, 5};
  EXPECT_EQ(RefusalOf(good, [](FuseSidesParams*) {}), "");
  EXPECT_THAT(RefusalOf(good, [](FuseSidesParams* p) { p->sides = 9; }), HasSubstr("of 9 side"));
  EXPECT_THAT(RefusalOf(good, [](FuseSidesParams* p) { p->dst.c = 9; }), HasSubstr("9 classes"));
  EXPECT_THAT(RefusalOf(good, [](FuseSidesParams* p) { p->dst.h = 0; }), HasSubstr("is empty"));
}

}  // namespace
}  // namespace lseg
