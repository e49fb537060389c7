// The fused head against its definition, against the separate ops it stands for, and its rules.
#include "kernels/fuse_head.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>

#include "kernels/box_copy.h"
#include "kernels/deconv.h"
#include "tests/error_of.h"
#include "tests/kernels/device_memory.h"
#include "tests/kernels/op_check.h"
#include "tests/reference/fuse_head.h"

namespace lseg {
namespace {

using testing::HasSubstr;
using Vectors = std::vector<std::vector<float>>;

class FuseHeadTest : public DeviceTest {};
LSEG_ON_ALL_DEVICES(FuseHeadTest);

// L-Seg's five levels for an image: sizes halved rounding up, crops at half the stride.
FuseHeadParams LsegHead(Shape dst) {
  FuseHeadParams p;
  p.dst = dst;
  p.levels = 5;
  int64_t height = dst.h, width = dst.w;
  for (int l = 0; l < 5; ++l) {
    const int64_t stride = int64_t{1} << l;
    p.level[l] = {height, width, stride, stride / 2, stride / 2, 1};
    height = (height + 1) / 2;
    width = (width + 1) / 2;
  }
  return p;
}

struct Case {
  FuseHeadParams params;
  bool biases = true;
  std::string what;
};

std::vector<Case> Cases() {
  std::vector<Case> cases = {{LsegHead({1, 4, 37, 45}), true, "L-Seg, odd size"},
                             {LsegHead({2, 4, 24, 40}), false, "L-Seg, in vectors of 4"},
                             {LsegHead({1, 4, 16, 600}), true, "L-Seg, longer than a piece"}};
  Case partial{LsegHead({2, 3, 20, 36}), true, "partial sums"};
  for (int l = 0; l < 5; ++l) partial.params.level[l].partials = 1 + l % 3;
  cases.push_back(partial);
  FuseHeadParams any;
  any.dst = {2, 2, 11, 20};
  any.levels = 3;
  any.level[0] = {13, 23, 1, 2, 3, 1};
  any.level[1] = {4, 7, 3, 1, 4, 2};
  any.level[2] = {3, 4, 5, 9, 0, 1};  // up to the last row of the upsampled map
  cases.push_back({any, true, "any geometry"});
  FuseHeadParams most;
  most.dst = {1, 1, 70, 132};
  most.levels = FuseHeadParams::kMaxLevels;
  for (auto& level : most.level) level = {40, 70, 2, 3, 1, 1};
  most.level[7] = {1, 2, FuseHeadParams::kMaxStride, 50, 60, 1};
  cases.push_back({most, true, "the most levels and the largest stride"});
  return cases;
}

// Seeded inputs of a case, and its outputs on a device.
struct Inputs {
  explicit Inputs(const Case& c) {
    const FuseHeadParams& p = c.params;
    for (int l = 0; l < p.levels; ++l) {
      const FuseHeadParams::Level& level = p.level[l];
      score.push_back(
          Draw(10 + l, level.partials * p.dst.n * p.dst.c * level.height * level.width, -4, 3));
      score_bias.push_back(c.biases ? Draw(20 + l, p.dst.c) : std::vector<float>());
      side_bias.push_back(c.biases ? Draw(30 + l, p.dst.c) : std::vector<float>());
    }
    weight = Draw(1, p.dst.c * p.levels);
    bias = c.biases ? Draw(2, p.dst.c) : std::vector<float>(p.dst.c, 0);
  }
  Vectors score, score_bias, side_bias;
  std::vector<float> weight, bias;
};

struct Outputs {
  std::vector<float> fused, probability;
};

// With or without the logits.
Outputs RunHead(Device device, const FuseHeadParams& p, const Inputs& in, bool logits,
                int threads = 2) {
  Context context(device, threads);
  std::vector<std::unique_ptr<Memory<float>>> memory;
  const auto put = [&](const std::vector<float>& values) {
    memory.push_back(std::make_unique<Memory<float>>(context, values));
    return memory.back()->data();
  };
  const auto put_bias = [&](const std::vector<float>& values) {
    return values.empty() ? nullptr : put(values);
  };
  const std::vector<float> nans(p.dst.Count(), NAN);
  const Memory<float> fused(context, nans), probability(context, nans);
  FuseHeadArgs args;
  for (int l = 0; l < p.levels; ++l) {
    args.level[l] = {put(in.score[l]), put_bias(in.score_bias[l]), put_bias(in.side_bias[l])};
  }
  args.weight = put(in.weight);
  args.bias = put(in.bias);
  args.fused = logits ? fused.data() : nullptr;
  args.probability = probability.data();
  FuseHead(context, p, args);
  return {fused.Values(), probability.Values()};
}

// The side map of level l: a head of that level alone, with the weight 1.
std::vector<float> RunSide(Device device, const FuseHeadParams& p, const Inputs& in, int l) {
  FuseHeadParams one = p;
  one.levels = 1;
  one.level[0] = p.level[l];
  Inputs its = in;
  its.score = {in.score[l]};
  its.score_bias = {in.score_bias[l]};
  its.side_bias = {in.side_bias[l]};
  its.weight.assign(p.dst.c, 1);
  its.bias.assign(p.dst.c, 0);
  return RunHead(device, one, its, true).fused;
}

std::vector<double> SigmoidOf(std::vector<double> values) {
  for (double& value : values) value = 1 / (1 + std::exp(-value));
  return values;
}

TEST_P(FuseHeadTest, AgreesWithTheDefinition) {
  for (const Case& c : Cases()) {
    const Inputs in(c);
    const Outputs out = RunHead(GetParam(), c.params, in, true);
    const reference::FusedHead expected =
        reference::FuseHead(c.params, in.score, in.score_bias, in.side_bias, in.weight, in.bias);
    // A weight of the upsampling to 2 roundings, partial sums, biases, blends, the sum over levels:
    // about 20 roundings of numbers up to `scale`.
    ExpectNear(out.fused, expected.fused, expected.scale, 20 * 0x1p-24, 0, c.what);
    // Scores up to 15 in all: 20 roundings, of which the sigmoid leaves a quarter.
    ExpectNear(out.probability, SigmoidOf(expected.fused), 1e-5, 1, c.what);
    for (int l = 0; l < c.params.levels; ++l) {
      const std::vector<float> side = RunSide(GetParam(), c.params, in, l);
      ExpectNear(side, expected.side[l], std::vector<double>(side.size(), 15), 10 * 0x1p-24, 0,
                 c.what + ", level " + std::to_string(l));
    }
    EXPECT_EQ(RunHead(GetParam(), c.params, in, false).probability, out.probability) << c.what;
  }
}

// What it replaces: deconvolution with bilinear weights on the diagonal, then a crop.
TEST_P(FuseHeadTest, ASideMapIsDeconvolutionAndCrop) {
  for (const int64_t stride : {2, 4, 8, 16}) {
    Case c{LsegHead({1, 4, 24, 36}), false, ""};
    const int l = static_cast<int>(std::log2(stride));
    const Inputs in(c);
    const FuseHeadParams::Level& level = c.params.level[l];
    DeconvParams deconv;
    deconv.src = {1, 4, level.height, level.width};
    deconv.out_channels = deconv.group = 4;
    deconv.kernel_h = deconv.kernel_w = 2 * stride;
    deconv.stride_h = deconv.stride_w = stride;
    deconv.bias = false;
    std::vector<float> weight;
    const double middle = static_cast<double>(2 * stride - 1) / 2;
    const auto tap = [&](int64_t at) { return 1 - std::fabs(at - middle) / stride; };
    for (int64_t i = 0; i < deconv.Weight().Count(); ++i) {
      const int64_t at = i % (4 * stride * stride);
      weight.push_back(static_cast<float>(tap(at / (2 * stride)) * tap(at % (2 * stride))));
    }
    Context context(GetParam());
    const Memory<float> src(context, in.score[l]), factors(context, weight);
    const Memory<float> upsampled(context, std::vector<float>(deconv.Dst().Count()));
    const Memory<float> cropped(context, std::vector<float>(c.params.dst.Count()));
    DeconvForward(context, deconv, src.data(), factors.data(), nullptr, upsampled.data());
    BoxCopy(context, {deconv.Dst(), c.params.dst, c.params.dst, {0, 0, stride / 2, stride / 2}},
            upsampled.data(), cropped.data(), GradMode::kWrite);
    const std::vector<float> expected = cropped.Values();
    // Four products of numbers up to 4, each way.
    ExpectNear(RunSide(GetParam(), c.params, in, l), {expected.begin(), expected.end()}, 3e-6, 1,
               "stride " + std::to_string(stride));
  }
}

TEST_P(FuseHeadTest, ANaNSpreadsAsFarAsItsKernel) {
  const Case c{LsegHead({1, 1, 32, 32}), false, ""};
  Inputs in(c);
  in.score[2][3 * 8 + 5] = NAN;  // stride 4, offset 2: rows 3*4-2 .. 3*4-2+7, columns 18 .. 25
  const Outputs out = RunHead(GetParam(), c.params, in, false);
  for (int64_t y = 0; y < 32; ++y) {
    for (int64_t x = 0; x < 32; ++x) {
      const bool reached = y >= 10 && y < 18 && x >= 18 && x < 26;
      EXPECT_EQ(std::isnan(out.probability[y * 32 + x]), reached) << y << "," << x;
    }
  }
}

TEST_P(FuseHeadTest, TheSameBitsForAnyNumberOfThreads) {
  const Case c = Cases()[0];
  const Inputs in(c);
  EXPECT_EQ(RunHead(GetParam(), c.params, in, false, 1).probability,
            RunHead(GetParam(), c.params, in, false, 3).probability);
}

TEST(FuseHeadParamsTest, ImpossibleOnesAreRefused) {
  const auto message = [](auto change) { return RefusalOf(LsegHead({1, 4, 32, 32}), change); };
  EXPECT_EQ(message([](FuseHeadParams*) {}), "");
  EXPECT_THAT(message([](FuseHeadParams* p) { p->levels = 9; }), HasSubstr("9 score maps"));
  EXPECT_THAT(message([](FuseHeadParams* p) { p->dst.c = 0; }), HasSubstr("is empty"));
  EXPECT_THAT(message([](FuseHeadParams* p) { p->level[1].partials = 0; }),
              HasSubstr("in 0 partial sums"));
  EXPECT_THAT(message([](FuseHeadParams* p) { p->level[2].stride = 100; }),
              HasSubstr("stride 100"));
  EXPECT_THAT(message([](FuseHeadParams* p) { p->level[3].offset_w = 9; }),
              HasSubstr("does not hold 32x32 at 4,9"));
  Context context;
  EXPECT_THROW(FuseHead(context, LsegHead({1, 4, 32, 32}), {}), Error);
}

}  // namespace
}  // namespace lseg
