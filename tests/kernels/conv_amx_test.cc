// The "implicit_gemm_amx" engine against the double oracle: products of bf16 are exact in f32, in
// which AMX sums them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/bf16.h"
#include "tests/kernels/conv_cases.h"
#include "tests/kernels/conv_check.h"

namespace lseg {
namespace {

constexpr ConvFormats kNhwc = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};

std::vector<ConvCheck> Checks() {
  std::vector<ConvCheck> checks;
  for (const ConvParams& params : {
           Conv3x3({1, 32, 1, 1}, 32),    // a single pixel
           Conv3x3({2, 32, 4, 16}, 64),   // whole blocks, all of which meet borders
           Conv3x3({3, 64, 7, 23}, 32),   // blocks cut short below, of 12 columns and 11
           Conv3x3({2, 32, 8, 70}, 96),   // blocks within the map, which are read there
           Conv3x3({1, 96, 6, 34}, 160),  // more than one chunk of outputs
           Conv3x3({1, 256, 9, 50}, 32),  // blocks within the map, which are copied
           Conv3x3({1, 512, 6, 70}, 32),  // more than one job
           Conv3x3({1, 32, 118, 70}, 32)  // the weights' gradient: two stripes of a band of rows
       }) {
    for (const ConvDirection direction : kDirections) {
      for (const GradMode mode : {GradMode::kWrite, GradMode::kAdd}) {
        ConvCheck check = {params, direction, kNhwc, mode, "implicit_gemm_amx"};
        check.params.relu = check.params.relu_gradient = mode == GradMode::kAdd;
        check.params.bias = mode == GradMode::kWrite;
        check.products = DType::kBF16;
        checks.push_back(check);
      }
    }
  }
  return checks;
}

TEST(ConvAmx, MatchesTheOracle) {
  LSEG_SKIP_WITHOUT_AMX_BF16();
  for (const ConvCheck& check : Checks()) ExpectConvExact(check);
}

TEST(ConvAmx, SmallIntegersComeOutExactly) {
  LSEG_SKIP_WITHOUT_AMX_BF16();
  for (ConvCheck check : Checks()) {
    check.integers = true;
    // What d_weight held before is no integer: adding to it rounds once.
    const bool rounds =
        check.direction == ConvDirection::kBackwardWeights && check.mode == GradMode::kAdd;
    EXPECT_LE(RunConvCheck(check).units, rounds ? 1 : 0) << Describe(check);
  }
}

TEST(ConvAmx, DoesNotDependOnTheNumberOfThreads) {
  LSEG_SKIP_WITHOUT_AMX_BF16();
  for (const ConvCheck& check : Checks()) ExpectSameOnThreads(check, {2, 5});
}

// Stripes of more than one band; and bands that are shared, as the gradient is large.
TEST(ConvAmx, GradientsOfWeightsOverManyBands) {
  LSEG_SKIP_WITHOUT_AMX_BF16();
  for (const ConvParams& params : {Conv3x3({1, 512, 57, 70}, 32), Conv3x3({2, 512, 21, 70}, 64)}) {
    ConvCheck check = {params, ConvDirection::kBackwardWeights, kNhwc, GradMode::kWrite,
                       "implicit_gemm_amx"};
    check.params.bias = true;
    check.products = DType::kBF16;
    ExpectConvExact(check);
    ExpectSameOnThreads(check, {2, 5});
  }
}

TEST(ConvAmx, SupportsOnlyWhatItIsFor) {
  LSEG_SKIP_WITHOUT_AMX_BF16();
  const Context context;
  const auto eligible = [&](const ConvParams& params, ConvFormats formats) {
    return EligibleConvEngines(context, params, ConvDirection::kForward, formats);
  };
  const ConvParams fits = Conv3x3({1, 32, 8, 8}, 32);
  const auto has = ::testing::Contains("implicit_gemm_amx");
  EXPECT_THAT(eligible(fits, kNhwc), has);
  EXPECT_THAT(eligible(fits, {Format::kNHWC, Format::kNHWC}), ::testing::Not(has));
  EXPECT_THAT(eligible(Conv3x3({1, 48, 8, 8}, 32), kNhwc), ::testing::Not(has));
  EXPECT_THAT(eligible(Conv3x3({1, 32, 8, 8}, 48), kNhwc), ::testing::Not(has));
  for (int64_t ConvParams::*field :
       {&ConvParams::kernel_h, &ConvParams::stride_w, &ConvParams::pad_h, &ConvParams::dilation_w,
        &ConvParams::group}) {
    ConvParams other = fits;
    other.*field = 2;
    EXPECT_THAT(eligible(other, kNhwc), ::testing::Not(has));
  }
}

}  // namespace
}  // namespace lseg
