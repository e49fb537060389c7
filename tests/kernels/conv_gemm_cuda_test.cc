// The implicit GEMM in every tile, type, direction and gradient mode, against the double oracle.
//
// Inputs are values of their type (with tf32: f32 numbers of 10 bits of mantissa), so that products
// are exact in f32 and what is left is the error of summing in f32 and one rounding of the output,
// which the check takes off. Tensor cores may cut off where they add, which doubles the bound.
#include <gtest/gtest.h>

#include "tests/kernels/conv_check.h"

namespace lseg {
namespace {

struct Case {
  const char* why;
  ConvParams params;
};

ConvParams Conv3x3(Shape src, int64_t out_channels, int64_t pad = 1) {
  return {.src = src,
          .out_channels = out_channels,
          .kernel_h = 3,
          .kernel_w = 3,
          .pad_h = pad,
          .pad_w = pad};
}

std::vector<Case> Cases() {
  std::vector<Case> cases = {
      {"patches cut off on both sides, two images", Conv3x3({2, 64, 17, 19}, 64)},
      {"several chunks of channels, the last in part, and two tiles of outputs",
       Conv3x3({1, 136, 5, 18}, 144)},
      {"less than a chunk, than a tile, than a patch", Conv3x3({3, 8, 3, 2}, 8)},
      {"no padding", Conv3x3({1, 24, 6, 20}, 40, 0)},
      {"padding wider than the kernel, other along x", Conv3x3({1, 16, 4, 5}, 16, 3)},
  };
  cases[0].params.relu = true;
  cases[1].params.bias = false;
  cases[3].params.relu = true;
  cases[4].params.pad_w = 2;
  return cases;
}

class ConvGemm : public testing::TestWithParam<std::tuple<std::string, DType>> {};

TEST_P(ConvGemm, MatchesTheOracle) {
  const auto& [engine, dtype] = GetParam();
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.why);
    ConvCheck check{.params = c.params,
                    .formats = {Format::kNHWC, Format::kNHWC, dtype, dtype},
                    .engine = engine,
                    .device = Device::kCuda};
    check.params.allow_tf32 = dtype == DType::kF32;
    check.products = dtype;
    ExpectConvExactOnTensorCores(check);
    check.direction = ConvDirection::kBackwardData;
    ExpectConvExactOnTensorCores(check);
    check.mode = GradMode::kAdd;
    check.seed = 2;
    ExpectConvExactOnTensorCores(check);
  }
}

std::string NameOf(const testing::TestParamInfo<ConvGemm::ParamType>& info) {
  return std::get<0>(info.param) + "_" + ToString(std::get<1>(info.param));
}

INSTANTIATE_TEST_SUITE_P(
    Tiles, ConvGemm,
    testing::Combine(testing::Values("implicit_gemm_128x128", "implicit_gemm_256x128",
                                     "implicit_gemm_256x64", "implicit_gemm_128x64",
                                     "implicit_gemm_64x64"),
                     testing::Values(DType::kBF16, DType::kF16, DType::kF32)),
    NameOf);

// Every tile is in the table, and so in the test above.
TEST(ConvGemmEngines, AreAllTested) {
  const Context context(Device::kCuda);
  int engines = 0;
  for (const std::string& name :
       EligibleConvEngines(context, Conv3x3({1, 64, 8, 8}, 64), ConvDirection::kForward,
                           {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16})) {
    if (name.starts_with("implicit_gemm")) ++engines;
  }
  EXPECT_EQ(engines, 5);
}

TEST(ConvGemmEngines, LeaveOthersWhatTheyCannotDo) {
  const Context context(Device::kCuda);
  const ConvFormats nhwc = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
  const ConvParams good = Conv3x3({1, 64, 8, 8}, 64);
  const auto supports = [&](ConvParams p, ConvDirection direction, ConvFormats formats) {
    for (const std::string& name : EligibleConvEngines(context, p, direction, formats)) {
      if (name.starts_with("implicit_gemm")) return true;
    }
    return false;
  };
  EXPECT_TRUE(supports(good, ConvDirection::kBackwardData, nhwc));
  EXPECT_FALSE(supports(good, ConvDirection::kBackwardWeights, nhwc));
  ConvParams bad = good;
  bad.stride_w = 2;
  EXPECT_FALSE(supports(bad, ConvDirection::kForward, nhwc));
  bad = good;
  bad.dilation_h = 2;
  EXPECT_FALSE(supports(bad, ConvDirection::kForward, nhwc));
  bad = good;
  bad.group = 2;
  EXPECT_FALSE(supports(bad, ConvDirection::kForward, nhwc));
  bad = good;
  bad.kernel_h = 1;
  EXPECT_FALSE(supports(bad, ConvDirection::kForward, nhwc));
  EXPECT_FALSE(supports(Conv3x3({1, 12, 8, 8}, 64), ConvDirection::kForward, nhwc));
  EXPECT_FALSE(supports(Conv3x3({1, 64, 8, 8}, 12), ConvDirection::kForward, nhwc));
  ConvFormats other = nhwc;
  other.src = Format::kNCHW;
  EXPECT_FALSE(supports(good, ConvDirection::kForward, other));
  other = nhwc;
  other.dst_dtype = DType::kF32;
  EXPECT_FALSE(supports(good, ConvDirection::kForward, other));
  // exact f32 stays exact
  EXPECT_FALSE(supports(good, ConvDirection::kForward, {Format::kNHWC, Format::kNHWC}));
}

}  // namespace
}  // namespace lseg
