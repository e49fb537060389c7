// The convolution engines of the GPU, in all directions, formats, element types and gradient
// modes, against the double oracle. A case that an engine does not support is left out for that
// engine; CoverageIsWhole says which combinations must be there. Runs on a GPU or on softgpu.
#include <gtest/gtest.h>

#include <algorithm>
#include <span>

#include "tests/kernels/conv_cases.h"
#include "tests/kernels/conv_check.h"
#include "tests/kernels/wgmma.h"

namespace lseg {
namespace {

constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};
constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

// Odd sizes, batch 2, channel counts that are no multiple of anything.
std::vector<ConvParams> GeneralCases() {
  std::vector<ConvParams> cases;
  cases.push_back(Conv3x3({2, 5, 7, 6}, 3));
  // strides, pads, dilations, kernels that differ between the axes
  cases.push_back({.src = {1, 4, 9, 10},
                   .out_channels = 6,
                   .kernel_h = 2,
                   .kernel_w = 3,
                   .stride_h = 2,
                   .stride_w = 3,
                   .pad_h = 1,
                   .pad_w = 2,
                   .dilation_h = 3,
                   .dilation_w = 1,
                   .bias = false});
  cases.push_back({.src = {2, 6, 5, 4},
                   .out_channels = 4,
                   .kernel_h = 3,
                   .kernel_w = 1,
                   .pad_h = 1,
                   .group = 2,
                   .relu = true});
  cases.push_back({.src = {2, 3, 4, 5},
                   .out_channels = 3,
                   .kernel_h = 3,
                   .kernel_w = 3,
                   .pad_h = 1,
                   .pad_w = 1,
                   .dilation_w = 1,
                   .group = 3});
  // more pixels than a block has threads
  cases.push_back({.src = {1, 2, 19, 17}, .out_channels = 2});
  return cases;
}

TEST(ConvDirect, MatchesTheOracle) {
  constexpr ConvFormats kPairs[] = {{Format::kNCHW, Format::kNCHW},
                                    {Format::kNHWC, Format::kNHWC},
                                    {Format::kNCHW, Format::kNHWC},
                                    {Format::kNHWC, Format::kNCHW}};
  int count = 0;
  for (const ConvParams& params : GeneralCases()) {
    for (const ConvDirection direction : kDirections) {
      for (ConvFormats formats : kPairs) {
        for (const DType src : kTypes) {
          formats.src_dtype = src;
          formats.dst_dtype = kTypes[count % 3];
          ConvCheck check{params, direction, formats, GradMode::kWrite, "direct"};
          check.device = Device::kCuda;
          if (count++ % 2 == 1) check.mode = GradMode::kAdd;
          check.params.relu_gradient = count % 5 < 2;
          ExpectConvExact(check);
        }
      }
    }
  }
}

// The first layer: tiles cut short in both directions, several tiles, fewer and more than 64
// outputs, every number of input channels.
TEST(ConvFirstLayer, MatchesTheOracle) {
  int count = 0;
  for (const Shape& src : {Shape{2, 3, 9, 67}, {1, 4, 3, 10}, {2, 1, 17, 5}, {1, 2, 8, 64}}) {
    for (const int64_t outputs : {64, 24, 72}) {
      ConvParams params = {.src = src,
                           .out_channels = outputs,
                           .kernel_h = 3,
                           .kernel_w = 3,
                           .pad_h = 1,
                           .pad_w = 1};
      for (const DType dtype : kTypes) {
        for (const bool tf32 : {false, true}) {
          if (tf32 && dtype != DType::kF32) continue;
          params.allow_tf32 = tf32;
          params.bias = count % 4 != 1;
          params.relu = count++ % 2 == 0;
          ConvCheck check{params,
                          ConvDirection::kForward,
                          {Format::kNCHW, Format::kNHWC, DType::kF32, dtype},
                          GradMode::kWrite,
                          "first_layer"};
          check.device = Device::kCuda;
          check.products = dtype;
          ExpectConvExactOnTensorCores(check);
          if (dtype == DType::kF32 && !tf32) continue;
          check.params.relu = false;
          check.direction = ConvDirection::kBackwardWeights;
          check.mode = count % 2 == 0 ? GradMode::kAdd : GradMode::kWrite;
          ExpectConvExactOnTensorCores(check);
        }
      }
    }
  }
}

// Score layers: channel counts that fill a load and that do not, images that begin within a warp's
// pixels, more pixels than the blocks have at a time.
TEST(ConvScore, MatchesTheOracle) {
  int count = 0;
  for (const Shape& src : {Shape{2, 64, 5, 7}, {1, 8, 30, 31}, {2, 40, 3, 11}, {1, 136, 4, 5}}) {
    for (const int64_t outputs : {4, 1, 7}) {
      for (const DType dtype : kTypes) {
        for (const ConvDirection direction : kDirections) {
          ConvCheck check{{.src = src, .out_channels = outputs, .bias = count % 3 != 1},
                          direction,
                          {Format::kNHWC, Format::kNCHW, dtype, DType::kF32},
                          GradMode::kWrite,
                          "score"};
          check.device = Device::kCuda;
          const bool forward = direction == ConvDirection::kForward;
          if (forward) check.params.relu = count % 2 == 0;
          if (!forward && count++ % 2 == 0) check.mode = GradMode::kAdd;
          check.params.relu_gradient = count % 5 < 2;
          if (!forward || dtype == DType::kF32) {
            ExpectConvExact(check);
            check.params.allow_tf32 = true;
          }
          if (!forward) continue;
          check.products = dtype;
          ExpectConvExactOnTensorCores(check);
        }
      }
    }
  }
}

// Few planes to few: every count that the kernels unroll, images that begin within a block, more
// pixels than the grid has threads.
TEST(ConvPlanes, MatchesTheOracle) {
  int count = 0;
  for (const Shape& src : {Shape{2, 5, 5, 7}, {1, 1, 30, 31}, {3, 4, 3, 11}, {1, 8, 20, 25}}) {
    for (const int64_t outputs : {1, 4, 7}) {
      for (const ConvDirection direction : kDirections) {
        ConvCheck check{{.src = src, .out_channels = outputs, .bias = count % 3 != 1},
                        direction,
                        {},
                        GradMode::kWrite,
                        "planes"};
        check.device = Device::kCuda;
        if (direction == ConvDirection::kForward) check.params.relu = count % 2 == 0;
        if (direction != ConvDirection::kForward && count++ % 2 == 0) check.mode = GradMode::kAdd;
        check.params.relu_gradient = count % 5 < 2;
        ExpectConvExact(check);
      }
    }
  }
}

// Strips and segments cut short, several parts, tiles of channels cut short.
void ExpectWeights(const std::string& engine, std::span<const DType> dtypes) {
  int count = 0;
  for (const Shape& src : {Shape{2, 8, 5, 35}, {1, 40, 19, 7}, {1, 16, 3, 70}, {1, 72, 6, 33}}) {
    for (const int64_t outputs : {72, 8}) {
      for (const DType dtype : dtypes) {
        ConvCheck check{{.src = src,
                         .out_channels = outputs,
                         .kernel_h = 3,
                         .kernel_w = 3,
                         .pad_h = 1,
                         .pad_w = count % 3,
                         .bias = count % 4 != 1,
                         .allow_tf32 = dtype == DType::kF32},
                        ConvDirection::kBackwardWeights,
                        {Format::kNHWC, Format::kNHWC, dtype, dtype},
                        GradMode::kWrite,
                        engine};
        check.device = Device::kCuda;
        if (count++ % 2 == 0) check.mode = GradMode::kAdd;
        ExpectConvExactOnTensorCores(check);
      }
    }
  }
}

TEST(ConvWeights, MatchesTheOracle) { ExpectWeights("implicit_gemm_weights", kTypes); }

TEST(ConvWeightsWgmma, MatchesTheOracle) {
  LSEG_SKIP_WITHOUT_WGMMA();
  constexpr DType kNarrow[] = {DType::kBF16, DType::kF16};
  ExpectWeights("wgmma_weights", kNarrow);
}

TEST(ConvWeightsSimt, MatchesTheOracle) {
  std::vector<ConvParams> cases = GeneralCases();
  std::erase_if(cases, [](const ConvParams& params) { return params.group > 1; });
  cases.push_back({.src = {2, 24, 9, 17},
                   .out_channels = 72,
                   .kernel_h = 3,
                   .kernel_w = 3,
                   .pad_h = 1,
                   .pad_w = 1});
  int count = 0;
  for (const ConvParams& params : cases) {
    for (const Format src : {Format::kNCHW, Format::kNHWC}) {
      for (const DType dtype : kTypes) {
        const Format dst = count % 2 == 0 ? Format::kNHWC : src;
        ConvCheck check{params,
                        ConvDirection::kBackwardWeights,
                        {src, dst, dtype, kTypes[count % 3]},
                        GradMode::kWrite,
                        "simt_weights"};
        check.device = Device::kCuda;
        if (count++ % 2 == 0) check.mode = GradMode::kAdd;
        ExpectConvExact(check);
      }
    }
  }
}

ConvCheck OnTheGpu(ConvParams params, ConvDirection direction, ConvFormats formats,
                   const std::string& engine) {
  ConvCheck check{params, direction, formats, GradMode::kWrite, engine};
  check.device = Device::kCuda;
  return check;
}

constexpr ConvFormats kFirstFormats = {Format::kNCHW, Format::kNHWC, DType::kF32, DType::kBF16};
constexpr ConvFormats kScoreFormats = {Format::kNHWC, Format::kNCHW, DType::kBF16, DType::kF32};
constexpr ConvFormats kExactFormats = {Format::kNHWC, Format::kNHWC};
constexpr ConvFormats kExactScoreFormats = {Format::kNHWC, Format::kNCHW};
constexpr ConvFormats kNarrowFormats = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};

// More tiles or pixels than all blocks of a GPU take at once.
TEST(ConvCuda, BlocksGoOnToFurtherTiles) {
  const ConvParams first = Conv3x3({1, 1, 4400, 1}, 8);
  for (const ConvDirection direction : {ConvDirection::kForward, ConvDirection::kBackwardWeights}) {
    ConvCheck check = OnTheGpu(first, direction, kFirstFormats, "first_layer");
    check.products = DType::kBF16;
    ExpectConvExactOnTensorCores(check);
  }
  const ConvParams score = {.src = {1, 8, 480, 300}, .out_channels = 1};
  ConvCheck check = OnTheGpu(score, ConvDirection::kForward, kScoreFormats, "score");
  check.products = DType::kBF16;
  ExpectConvExactOnTensorCores(check);
  ExpectConvExact(OnTheGpu(score, ConvDirection::kForward, kExactScoreFormats, "score"));
  const ConvParams wide = {.src = {1, 136, 128, 125}, .out_channels = 1};
  ExpectConvExact(OnTheGpu(wide, ConvDirection::kBackwardData, kExactScoreFormats, "score"));
  ExpectConvExact(OnTheGpu(wide, ConvDirection::kBackwardWeights, kExactScoreFormats, "score"));
  const ConvParams planes = {.src = {1, 1, 600, 250}, .out_channels = 1};
  for (const ConvDirection direction : kDirections) {
    ExpectConvExact(OnTheGpu(planes, direction, {}, "planes"));
  }
}

TEST(ConvCuda, GradientsOfWeightsRepeatBitForBit) {
  const auto kWeights = ConvDirection::kBackwardWeights;
  for (const ConvCheck& check :
       {OnTheGpu(Conv3x3({2, 3, 17, 70}, 24), kWeights, kFirstFormats, "first_layer"),
        OnTheGpu({.src = {2, 24, 37, 31}, .out_channels = 4}, kWeights, kScoreFormats, "score"),
        OnTheGpu(Conv3x3({2, 16, 17, 35}, 16), kWeights, kNarrowFormats, "implicit_gemm_weights"),
        OnTheGpu(Conv3x3({2, 16, 17, 35}, 16), kWeights, kExactFormats, "simt_weights"),
        OnTheGpu({.src = {2, 5, 37, 31}, .out_channels = 2}, kWeights, {}, "planes"),
        OnTheGpu(Conv3x3({1, 4, 17, 35}, 4), kWeights, kExactFormats, "direct")}) {
    EXPECT_EQ(RunConv(check), RunConv(check)) << Describe(check);
  }
}

// The cases of the net get the kernels that were made for them.
TEST(ConvCuda, PrefersTheMostSpecialEngine) {
  const Context context(Device::kCuda);
  const auto engine = [&](const ConvParams& params, ConvDirection direction, ConvFormats formats) {
    return EligibleConvEngines(context, params, direction, formats).front();
  };
  const ConvParams first = Conv3x3({1, 3, 33, 29}, 64), middle = Conv3x3({1, 64, 33, 29}, 64);
  const ConvParams score = {.src = {1, 64, 33, 29}, .out_channels = 4};
  const auto kForward = ConvDirection::kForward, kWeights = ConvDirection::kBackwardWeights;
  EXPECT_EQ(engine(first, kForward, kFirstFormats), "first_layer");
  EXPECT_EQ(engine(first, kWeights, kFirstFormats), "first_layer");
  EXPECT_EQ(engine(first, kForward, {Format::kNCHW, Format::kNHWC}), "first_layer");
  EXPECT_EQ(engine(first, kWeights, {Format::kNCHW, Format::kNHWC}), "simt_weights");
  for (const ConvDirection direction : kDirections) {
    EXPECT_EQ(engine(score, direction, kScoreFormats), "score");
    EXPECT_EQ(engine(score, direction, kExactScoreFormats), "score");
  }
  for (const ConvDirection direction : kDirections) {
    EXPECT_EQ(engine({.src = {1, 5, 33, 29}, .out_channels = 1}, direction, {}), "planes");
  }
  EXPECT_EQ(engine(middle, kWeights, kNarrowFormats), "implicit_gemm_weights");
  EXPECT_EQ(engine(middle, kWeights, kExactFormats), "simt_weights");
  ConvParams grouped = middle;
  grouped.group = 2;
  EXPECT_EQ(engine(grouped, kWeights, kNarrowFormats), "direct");
}

}  // namespace
}  // namespace lseg
