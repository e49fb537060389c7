// The implicit GEMM in every tile, type, direction and gradient mode, against the double oracle.
//
// Inputs are values of their type (with tf32: f32 numbers of 10 bits of mantissa), so that products
// are exact in f32 and what is left is the error of summing in f32 and one rounding of the output,
// which the check takes off. Tensor cores may cut off where they add, which doubles the bound.
#include <gtest/gtest.h>

#include "tests/kernels/conv_cases.h"
#include "tests/kernels/conv_check.h"
#include "tests/kernels/wgmma.h"

namespace lseg {
namespace {

struct Case {
  const char* why;
  ConvParams params;
};

void ExpectExact(const ConvCheck& check) {
  if (check.engine.starts_with("simt")) return ExpectConvExact(check);
  ExpectConvExactOnTensorCores(check);
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
  if (engine.starts_with("wgmma")) LSEG_SKIP_WITHOUT_WGMMA();
  for (const Case& c : Cases()) {
    SCOPED_TRACE(c.why);
    ConvCheck check{.params = c.params,
                    .formats = {Format::kNHWC, Format::kNHWC, dtype, dtype},
                    .engine = engine,
                    .device = Device::kCuda};
    check.params.allow_tf32 = dtype == DType::kF32 && !engine.starts_with("simt");
    check.products = dtype;
    ExpectExact(check);
    check.direction = ConvDirection::kBackwardData;
    ExpectExact(check);
    check.mode = GradMode::kAdd;
    check.seed = 2;
    ExpectExact(check);
    check.params.relu_gradient = true;
    ExpectExact(check);
    check.mode = GradMode::kWrite;
    ExpectExact(check);
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

INSTANTIATE_TEST_SUITE_P(WgmmaTiles, ConvGemm,
                         testing::Combine(testing::Values("wgmma_gemm_256x128",
                                                          "wgmma_gemm_128x128",
                                                          "wgmma_gemm_256x64"),
                                          testing::Values(DType::kBF16, DType::kF16, DType::kF32)),
                         NameOf);

INSTANTIATE_TEST_SUITE_P(WithoutTensorCores, ConvGemm,
                         testing::Combine(testing::Values("simt_gemm_128x128", "simt_gemm_128x64"),
                                          testing::Values(DType::kF32)),
                         NameOf);

constexpr ConvFormats kBf16 = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
constexpr ConvFormats kF32 = {Format::kNHWC, Format::kNHWC, DType::kF32, DType::kF32};

// How many of the engines take a case.
int Engines(const ConvParams& params, ConvDirection direction, ConvFormats formats) {
  int count = 0;
  for (const std::string& name :
       EligibleConvEngines(Context(Device::kCuda), params, direction, formats)) {
    const bool tile = name.starts_with("implicit_gemm_") || name.starts_with("simt_gemm_");
    if (tile && name != "implicit_gemm_weights") ++count;  // that one has a test of its own
  }
  return count;
}

// With wgmma no tile is in the table that the test above does not name, and all are unproven.
TEST(ConvGemmWgmma, AreAllTestedAndNobodyGetsThemUnasked) {
  LSEG_SKIP_WITHOUT_WGMMA();
  Context context(Device::kCuda);
  const ConvParams params = Conv3x3({1, 64, 8, 8}, 64);
  int count = 0;
  for (const std::string& name :
       EligibleConvEngines(context, params, ConvDirection::kForward, kBf16)) {
    count += name.starts_with("wgmma_gemm_");
  }
  EXPECT_EQ(count, 3);
  for (const ConvEngine& engine : ConvEngines(Device::kCuda)) {
    EXPECT_EQ(engine.unproven, engine.name.starts_with("wgmma_")) << engine.name;
  }
  EXPECT_FALSE(EligibleConvEngines(context, params, ConvDirection::kForward, kBf16)
                   .front()
                   .starts_with("wgmma"));
  EXPECT_FALSE(
      FastestConvEngine(context, params, ConvDirection::kForward, kBf16).starts_with("wgmma"));
}

// No tile is in the table that the test above does not name.
TEST(ConvGemmEngines, AreAllTested) {
  EXPECT_EQ(Engines(Conv3x3({1, 64, 8, 8}, 64), ConvDirection::kForward, kBf16), 5);
  EXPECT_EQ(Engines(Conv3x3({1, 64, 8, 8}, 64), ConvDirection::kForward, kF32), 2);
  ConvParams tf32 = Conv3x3({1, 64, 8, 8}, 64);
  tf32.allow_tf32 = true;
  EXPECT_EQ(Engines(tf32, ConvDirection::kForward, kF32), 7);
}

TEST(ConvGemmEngines, LeaveOthersWhatTheyCannotDo) {
  const ConvParams good = Conv3x3({1, 64, 8, 8}, 64);
  EXPECT_EQ(Engines(good, ConvDirection::kBackwardData, kBf16), 5);
  EXPECT_EQ(Engines(good, ConvDirection::kBackwardWeights, kBf16), 0);
  ConvParams bad = good;
  bad.stride_w = 2;
  EXPECT_EQ(Engines(bad, ConvDirection::kForward, kBf16), 0);
  bad = good;
  bad.dilation_h = 2;
  EXPECT_EQ(Engines(bad, ConvDirection::kForward, kBf16), 0);
  bad = good;
  bad.group = 2;
  EXPECT_EQ(Engines(bad, ConvDirection::kForward, kBf16), 0);
  bad = good;
  bad.kernel_h = 1;
  EXPECT_EQ(Engines(bad, ConvDirection::kForward, kBf16), 0);
  EXPECT_EQ(Engines(Conv3x3({1, 12, 8, 8}, 64), ConvDirection::kForward, kBf16), 0);
  EXPECT_EQ(Engines(Conv3x3({1, 64, 8, 8}, 12), ConvDirection::kForward, kBf16), 0);
  ConvFormats other = kBf16;
  other.src = Format::kNCHW;
  EXPECT_EQ(Engines(good, ConvDirection::kForward, other), 0);
  other = kBf16;
  other.dst_dtype = DType::kF32;
  EXPECT_EQ(Engines(good, ConvDirection::kForward, other), 0);
}

}  // namespace
}  // namespace lseg
