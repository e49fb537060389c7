// Geometry of convolutions, their rules, and the choice among engines.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/conv.h"
#include "tests/kernels/conv_cases.h"

namespace lseg {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

std::string Rule(const ConvParams& params) {
  try {
    params.Validate();
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(ConvParams, OutputSizesRoundDown) {
  ConvParams p = Conv3x3({2, 3, 960, 1440}, 64);
  EXPECT_EQ(p.Dst(), (Shape{2, 64, 960, 1440}));
  p.stride_h = 2;  // (960 + 2 - 3) / 2 = 479.5
  p.stride_w = 3;  // (1440 + 2 - 3) / 3 = 479.67
  EXPECT_EQ(p.Dst(), (Shape{2, 64, 480, 480}));
  p = {.src = {1, 8, 10, 11},
       .out_channels = 4,
       .kernel_h = 3,
       .kernel_w = 2,
       .dilation_h = 4,
       .dilation_w = 3,
       .group = 2};
  EXPECT_EQ(p.Dst(), (Shape{1, 4, 2, 8}));
  EXPECT_EQ(p.Weight(), (Shape{4, 4, 3, 2}));
  EXPECT_EQ(p.MultiplyAdds(), 4 * 2 * 8 * 4 * 3 * 2);
}

TEST(ConvParams, SourceRowsOfDestinationRows) {
  ConvParams p = Conv3x3({1, 1, 10, 10}, 1);
  EXPECT_EQ(p.SrcRows({0, 10}), (RowRange{0, 10}));
  EXPECT_EQ(p.SrcRows({0, 1}), (RowRange{0, 2}));
  EXPECT_EQ(p.SrcRows({4, 6}), (RowRange{3, 7}));
  EXPECT_EQ(p.SrcRows({9, 10}), (RowRange{8, 10}));
  p.stride_h = 2;
  p.dilation_h = 2;  // row y reads 2y - 1, 2y + 1, 2y + 3
  EXPECT_EQ(p.SrcRows({1, 3}), (RowRange{1, 8}));
  p.pad_h = 9;  // row 0 reads -9, -7, -5: padding only
  const RowRange none = p.SrcRows({0, 1});
  EXPECT_EQ(none.begin, none.end);
  EXPECT_EQ(p.SrcRows({3, 3}), (RowRange{0, 0}));
}

TEST(ConvParams, RulesAreNamed) {
  EXPECT_EQ(Rule(Conv3x3({1, 3, 8, 8}, 4)), "");
  EXPECT_THAT(Rule(Conv3x3({1, 0, 8, 8}, 4)), HasSubstr("1x0x8x8"));
  EXPECT_THAT(Rule(Conv3x3({1, 3, 8, 8}, 0)), HasSubstr("to 0 channels"));
  ConvParams p = Conv3x3({1, 6, 8, 8}, 4);
  p.group = 4;
  EXPECT_THAT(Rule(p), HasSubstr("4 groups"));
  p = Conv3x3({1, 6, 8, 8}, 4);
  p.stride_w = 0;
  EXPECT_THAT(Rule(p), HasSubstr("along x: kernel 3, stride 0"));
  p = Conv3x3({1, 6, 8, 8}, 4);
  p.dilation_h = 5;
  EXPECT_THAT(Rule(p), HasSubstr("covers 11 positions, the padded input has only 10"));
}

TEST(ConvEngines, ReferenceIsLastAndTakesEverything) {
  const Context context;
  const ConvParams odd = {.src = {1, 4, 9, 7},
                          .out_channels = 6,
                          .kernel_h = 2,
                          .kernel_w = 3,
                          .stride_h = 2,
                          .dilation_w = 2,
                          .group = 2};
  for (const ConvDirection direction :
       {ConvDirection::kForward, ConvDirection::kBackwardData, ConvDirection::kBackwardWeights}) {
    const auto names = EligibleConvEngines(context, odd, direction, {});
    EXPECT_EQ(names.back(), "reference");
  }
  EXPECT_EQ(ConvEngines(Device::kCpu).back().name, "reference");
}

TEST(ConvEngines, PointwiseLeadsWhereItFits) {
  const Context context;
  const ConvParams score = {.src = {1, 64, 9, 7}, .out_channels = 4};
  const ConvFormats formats{context.blocked_format(), Format::kNCHW};
  EXPECT_EQ(EligibleConvEngines(context, score, ConvDirection::kForward, formats).front(),
            "pointwise");
  ConvParams wide = score;
  wide.out_channels = 9;
  EXPECT_THAT(EligibleConvEngines(context, wide, ConvDirection::kForward, formats),
              Not(Contains("pointwise")));
  EXPECT_THAT(
      EligibleConvEngines(context, score, ConvDirection::kForward, {Format::kNCHW, Format::kNHWC}),
      Not(Contains("pointwise")));
}

TEST(ConvEngines, NamedEngineThatDoesNotFitIsAnError) {
  const Context context;
  try {
    MakeConvPlan(context, Conv3x3({1, 3, 8, 8}, 4), ConvDirection::kForward, {}, "pointwise");
    FAIL() << "no error";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("'pointwise' does not support forward from 1x3x8x8 NCHW"));
    EXPECT_THAT(error.what(), HasSubstr("reference"));
  }
  EXPECT_THROW(
      MakeConvPlan(context, Conv3x3({1, 3, 8, 8}, 4), ConvDirection::kForward, {}, "no such"),
      Error);
  EXPECT_THROW(MakeConvPlan(context, Conv3x3({1, 3, 8, 8}, 4), ConvDirection::kForward,
                            {Format::kOpaque, Format::kNCHW}),
               Error);
}

TEST(ConvEngines, FastestIsEligible) {
  Context context(Device::kCpu, 1);
  const ConvParams p = Conv3x3({1, 16, 12, 12}, 16);
  const ConvFormats formats{context.blocked_format(), context.blocked_format()};
  for (const ConvDirection direction :
       {ConvDirection::kForward, ConvDirection::kBackwardData, ConvDirection::kBackwardWeights}) {
    const std::string fastest = FastestConvEngine(context, p, direction, formats);
    EXPECT_THAT(EligibleConvEngines(context, p, direction, formats), Contains(fastest));
    EXPECT_NE(fastest, "reference");
  }
}

TEST(ConvArgs, NullPointersAreNamed) {
  Context context;
  const ConvParams p = {.src = {1, 2, 2, 2}, .out_channels = 2};
  for (const std::string& engine :
       EligibleConvEngines(context, p, ConvDirection::kBackwardWeights, {})) {
    const auto plan = MakeConvPlan(context, p, ConvDirection::kBackwardWeights, {}, engine);
    float src[8] = {}, d_dst[8] = {}, d_weight[4] = {};
    ConvArgs args;
    args.src = src;
    args.d_dst = d_dst;
    args.d_weight = d_weight;
    plan->Run(context, args);  // kSkip: nothing is needed, nothing touched
    args.d_weight_mode = GradMode::kWrite;
    try {
      plan->Run(context, args);
      FAIL() << engine << " ran without d_bias";
    } catch (const Error& error) {
      EXPECT_THAT(error.what(), HasSubstr("d_bias is null")) << engine;
    }
  }
}

}  // namespace
}  // namespace lseg
