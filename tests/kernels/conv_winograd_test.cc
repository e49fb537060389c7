// The "winograd4x3" engine against the double oracle. Its errors have two bounds:
// - Rigorous, for any data: transforms and sums of C channels lose at most
//     |error| <= 205 (C + 20) 2^-24 * sum of |w| * (largest |x| of the tile),
//   where 205 is the largest value of sum_k |A_ky| |G_kr| sum_j |B_jk| over outputs y and taps
//   r, 14.3, squared for two dimensions, and 20 covers the additions within the transforms. A
//   tile's pixels are at most 5 apart.
// - For data without structure, errors average out: a simulation in float32 of 64 to 512 channels
// gave
//   at most 3.3 * 2^-24 * sum of |w| |x| (and 2.5 for the direct sum). Tested here with 16.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/bf16.h"
#include "tests/kernels/conv_cases.h"
#include "tests/kernels/conv_check.h"

namespace lseg {
namespace {

constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};
constexpr double kNoiseBound = 32;
constexpr Format kFormats[] = {Format::kNChw8c, Format::kNChw16c};

std::vector<ConvCheck> Checks() {
  std::vector<ConvCheck> checks;
  for (const ConvParams& params : {
           Conv3x3({1, 8, 4, 4}, 8),      // one tile, all of whose sides are borders
           Conv3x3({2, 16, 12, 16}, 16),  // whole tiles
           Conv3x3({2, 13, 9, 7}, 21),    // tiles cut short, blocks of channels too
           Conv3x3({1, 3, 1, 1}, 2),      // a single pixel
           Conv3x3({3, 5, 2, 23}, 9),
           Conv3x3({1, 70, 10, 11}, 150),  // more than one chunk of outputs
           Conv3x3({1, 280, 5, 6}, 20),    // more than one pass over the inputs
           Conv3x3({1, 8, 130, 110}, 8),   // more than one block of tiles
           Conv3x3({1, 8, 260, 220}, 8),   // the weights' gradient: four stripes of blocks
       }) {
    for (const ConvDirection direction : kDirections) {
      for (const Format format : kFormats) {
        checks.push_back({params, direction, {format, format}, GradMode::kWrite, "winograd4x3"});
      }
    }
  }
  return checks;
}

void ExpectWithinBound(const ConvCheck& check, double bound) {
  EXPECT_LE(RunConvCheck(check).units, bound) << Describe(check);
}

TEST(Winograd4x3, MatchesTheOracle) {
  for (const ConvCheck& check : Checks()) ExpectWithinBound(check, kNoiseBound);
}

TEST(Winograd4x3, AddsAndRectifies) {
  for (ConvCheck check : Checks()) {
    check.threads = 1;
    check.mode = GradMode::kAdd;
    check.params.relu = true;
    check.params.relu_gradient = true;
    check.params.bias = false;
    ExpectWithinBound(check, kNoiseBound);
  }
}

TEST(Winograd4x3, StaysWithinTheRigorousBoundOfSpikyData) {
  for (ConvCheck check : Checks()) {
    check.threads = 1;
    check.spike = 1e5f;
    check.reach = 5;
    const int64_t channels =
        check.direction == ConvDirection::kForward ? check.params.src.c : check.params.out_channels;
    ExpectWithinBound(check, 205.0 * (channels + 20));
  }
}

TEST(Winograd4x3, DoesNotDependOnTheNumberOfThreads) {
  for (const ConvCheck& check : Checks()) ExpectSameOnThreads(check, {2, 5});
}

// F(2x2, 3x3) has transforms of additions and one halving: of the rigorous bound the factor is 16
// (4 in each dimension) instead of 205; for data without structure a quarter of the bound above is
// taken.
TEST(Winograd2x3, IsWithinATighterBound) {
  for (ConvCheck check : Checks()) {
    if (check.direction == ConvDirection::kBackwardWeights) continue;
    check.engine = "winograd2x3";
    for (const GradMode mode : {GradMode::kWrite, GradMode::kAdd}) {
      check.mode = mode;
      check.params.relu = mode == GradMode::kAdd;
      ExpectWithinBound(check, 8);
      ConvCheck spiky = check;
      spiky.spike = 1e5f;
      spiky.reach = 3;
      const bool forward = check.direction == ConvDirection::kForward;
      ExpectWithinBound(spiky,
                        16.0 * ((forward ? check.params.src.c : check.params.out_channels) + 20));
    }
  }
}

TEST(Winograd2x3, SmallIntegersComeOutExactly) {
  for (ConvCheck check : Checks()) {
    if (check.direction == ConvDirection::kBackwardWeights) continue;
    check.engine = "winograd2x3";
    check.integers = true;
    EXPECT_EQ(RunConvCheck(check).units, 0) << Describe(check);
  }
}

std::vector<ConvCheck> Bf16Checks(const std::string& engine, DType products) {
  constexpr ConvFormats kNhwc = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
  std::vector<ConvCheck> checks;
  for (const ConvParams& params : {
           Conv3x3({1, 16, 4, 4}, 16), Conv3x3({2, 32, 12, 16}, 48), Conv3x3({3, 48, 2, 23}, 80),
           Conv3x3({1, 80, 11, 9}, 144),   // more than one chunk of outputs
           Conv3x3({1, 288, 5, 6}, 16),    // more than one pass over the inputs
           Conv3x3({1, 16, 130, 110}, 16)  // four stripes of blocks of tiles
       }) {
    for (const ConvDirection direction : kDirections) {
      for (const GradMode mode : {GradMode::kWrite, GradMode::kAdd}) {
        ConvCheck check = {params, direction, kNhwc, mode, engine};
        check.params.relu = check.params.relu_gradient = mode == GradMode::kAdd;
        check.products = products;
        checks.push_back(check);
      }
    }
  }
  return checks;
}

std::vector<ConvCheck> Bf16Checks() { return Bf16Checks("winograd2x3_bf16", DType::kBF16); }

// Transformed inputs and weights are rounded to bf16. A simulation of 16 to 512 channels lost at
// most 0.7 * 2^-8 * sum of |w| |x| (with 16; 0.08 with 512). In a corner of the image four taps of
// nine count in that sum, where all nine are transformed: 9/4 of it. Tested with twice as much.
TEST(Winograd2x3Bf16, MatchesTheOracle) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  for (const ConvCheck& check : Bf16Checks()) {
    ExpectWithinBound(check, 2 * 9.0 / 4 * 0.7 * 0x1p16);
  }
}

// Sums of four integers of 3 are exact in bf16, and so are a filter's, which are quarters of whole
// numbers below 256.
TEST(Winograd2x3Bf16, SmallIntegersComeOutExactly) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  for (ConvCheck check : Bf16Checks()) {
    check.integers = true;
    // What d_weight held before is no integer: adding to it rounds once.
    const bool rounds =
        check.direction == ConvDirection::kBackwardWeights && check.mode == GradMode::kAdd;
    EXPECT_LE(RunConvCheck(check).units, rounds ? 1 : 0) << Describe(check);
  }
}

TEST(Winograd2x3Bf16, DoesNotDependOnTheNumberOfThreads) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  for (const ConvCheck& check : Bf16Checks()) ExpectSameOnThreads(check, {5});
}

// Products are those of f32: so are the bounds, but for a value that is stored in bf16, which the
// check takes off.
TEST(Winograd4x3Bf16, MatchesTheOracle) {
  for (const ConvCheck& check : Bf16Checks("winograd4x3_bf16", DType::kF32)) {
    ExpectWithinBound(check, kNoiseBound);
  }
}

TEST(Winograd4x3Bf16, DoesNotDependOnTheNumberOfThreads) {
  for (const ConvCheck& check : Bf16Checks("winograd4x3_bf16", DType::kF32)) {
    ExpectSameOnThreads(check, {5});
  }
}

TEST(Winograd4x3, SupportsOnlyWhatItIsFor) {
  const Context context;
  const auto eligible = [&](const ConvParams& params, Format src, Format dst) {
    return EligibleConvEngines(context, params, ConvDirection::kForward, {src, dst});
  };
  const ConvParams fits = Conv3x3({1, 16, 8, 8}, 16);
  const auto has = ::testing::Contains("winograd4x3");
  EXPECT_THAT(eligible(fits, Format::kNChw8c, Format::kNChw8c), has);
  EXPECT_THAT(eligible(fits, Format::kNChw8c, Format::kNChw16c), ::testing::Not(has));
  EXPECT_THAT(eligible(fits, Format::kNCHW, Format::kNCHW), ::testing::Not(has));
  for (int64_t ConvParams::*field :
       {&ConvParams::kernel_h, &ConvParams::stride_w, &ConvParams::pad_h, &ConvParams::dilation_w,
        &ConvParams::group}) {
    ConvParams other = fits;
    other.*field = 2;
    EXPECT_THAT(eligible(other, Format::kNChw8c, Format::kNChw8c), ::testing::Not(has));
  }
}

// oneDNN does not say what its Winograd loses. The usual points, +-1 and +-2, lost up to 14 units
// in the simulation above, 4 times what these ones do, and so get 4 times the bound.
TEST(OnednnWinograd, IsWithinTheBoundOfTheUsualPoints) {
  const Context context;
  int run = 0;
  for (ConvCheck check : Checks()) {
    check.engine = "onednn_winograd";
    const auto names = EligibleConvEngines(context, check.params, check.direction, check.formats);
    if (std::find(names.begin(), names.end(), check.engine) == names.end()) continue;
    ++run;
    for (const GradMode mode : {GradMode::kWrite, GradMode::kAdd}) {
      check.mode = mode;
      ExpectWithinBound(check, 4 * kNoiseBound);
    }
  }
  if (run == 0) GTEST_SKIP() << "oneDNN has no Winograd for this processor, or in this release";
}

}  // namespace
}  // namespace lseg
