// Every engine that sums products as they are, in all directions, formats and gradient modes,
// against the double oracle. A case that an engine does not support is left out for that engine;
// CoverageIsWhole says which combinations must be there.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/conv_dtypes.h"
#include "tests/bf16.h"
#include "tests/kernels/conv_check.h"

namespace lseg {
namespace {

constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};
constexpr Format kFormats[] = {Format::kNCHW, Format::kNHWC, Format::kNChw8c, Format::kNChw16c};
constexpr ConvFormats kPairs[] = {
    {Format::kNCHW, Format::kNCHW},     {Format::kNHWC, Format::kNHWC},
    {Format::kNChw8c, Format::kNChw8c}, {Format::kNChw16c, Format::kNChw16c},
    {Format::kNCHW, Format::kNChw8c},   {Format::kNCHW, Format::kNChw16c},
    {Format::kNHWC, Format::kNCHW},     {Format::kNChw8c, Format::kNCHW},
    {Format::kNChw16c, Format::kNCHW}};

// Along y and along x.
struct Both {
  int64_t y, x;
};

ConvParams Case(Shape src, int64_t out_channels, Both kernel, Both stride, Both pad, Both dilation,
                int64_t group) {
  return {.src = src,
          .out_channels = out_channels,
          .kernel_h = kernel.y,
          .kernel_w = kernel.x,
          .stride_h = stride.y,
          .stride_w = stride.x,
          .pad_h = pad.y,
          .pad_w = pad.x,
          .dilation_h = dilation.y,
          .dilation_w = dilation.x,
          .group = group};
}

// Odd sizes, batch 2, channel counts that are no multiple of a block.
std::vector<ConvParams> Cases() {
  std::vector<ConvParams> cases = {
      // source, outputs, kernel, stride, pad, dilation, groups
      // first layer of the net, a middle one, a wide one
      Case({2, 3, 13, 17}, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
      Case({2, 16, 9, 7}, 32, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
      Case({1, 40, 5, 6}, 24, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
      Case({2, 5, 9, 7}, 11, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
      // strides, pads, dilations and kernels that differ between the axes
      Case({2, 8, 12, 15}, 8, {3, 5}, {2, 3}, {0, 2}, {1, 1}, 1),
      Case({1, 6, 14, 11}, 10, {2, 4}, {1, 1}, {2, 1}, {3, 2}, 1),
      Case({1, 8, 30, 30}, 8, {7, 7}, {4, 4}, {3, 3}, {1, 1}, 1),
      // groups, down to one channel each
      Case({2, 16, 7, 8}, 32, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2),
      Case({2, 6, 9, 7}, 6, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 6),
      Case({1, 20, 6, 7}, 10, {3, 1}, {1, 1}, {1, 0}, {1, 1}, 5),
      // 1x1, many outputs
      Case({2, 24, 5, 9}, 17, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1),
  };
  cases[2].bias = false;
  // 1x1 to few outputs: score and fusion layers, and every count the pointwise engine has code for
  int64_t in = 1;
  for (const int64_t out : {1, 2, 3, 4, 5, 8, 4, 1, 8}) {
    cases.push_back({.src = {2, in, 5, 31}, .out_channels = out, .bias = out != 2});
    in = in * 5 % 37;  // 1 5 25 14 33 17 11 18 16
  }
  cases.push_back({.src = {1, 16, 40, 41}, .out_channels = 4});  // several chunks of pixels
  return cases;
}

// None where no engine takes the case.
std::vector<std::string> EngineNames(const Context& context, const ConvCheck& check) {
  std::vector<std::string> names;
  for (const ConvEngine& engine : ConvEngines(context.device())) {
    if (engine.supports(context, check.params, check.direction, check.formats)) {
      names.push_back(engine.name);
    }
  }
  return names;
}

class ConvEngineTest : public ::testing::TestWithParam<const char*> {
 protected:
  // Calls check(ConvCheck) for all that the engine supports.
  template <typename Each>
  void ForEachCheck(Each each) {
    const Context context;
    for (const ConvParams& params : Cases()) {
      for (const ConvDirection direction : kDirections) {
        for (const ConvFormats formats : kPairs) {
          // The reference is slow and computes offsets by one function for all formats.
          if (GetParam() == std::string("reference") && formats.src != formats.dst) continue;
          const auto names = EligibleConvEngines(context, params, direction, formats);
          if (std::find(names.begin(), names.end(), GetParam()) == names.end()) continue;
          each(ConvCheck{params, direction, formats, GradMode::kWrite, GetParam()});
        }
      }
    }
  }
};

TEST_P(ConvEngineTest, MatchesTheOracle) {
  int count = 0;  // every third on two threads: small cases spend their time waiting for each other
  ForEachCheck([&](ConvCheck check) {
    check.threads = count++ % 3 == 0 ? 2 : 1;
    ExpectConvExact(check);
  });
}

TEST_P(ConvEngineTest, AddsToGradients) {
  ForEachCheck([](ConvCheck check) {
    if (check.direction == ConvDirection::kForward) return;
    check.mode = GradMode::kAdd;
    check.threads = 1;
    ExpectConvExact(check);
  });
}

TEST_P(ConvEngineTest, FusesRelu) {
  ForEachCheck([](ConvCheck check) {
    if (check.direction != ConvDirection::kForward) return;
    check.params.relu = true;
    check.threads = 1;
    ExpectConvExact(check);
  });
}

TEST_P(ConvEngineTest, TakesTheGradientOfARelu) {
  int count = 0;
  ForEachCheck([&](ConvCheck check) {
    if (check.direction != ConvDirection::kBackwardData) return;
    check.params.relu_gradient = true;
    check.threads = 1;
    if (count++ % 2 == 0) check.mode = GradMode::kAdd;
    ExpectConvExact(check);
  });
  EXPECT_GT(count, 1);
}

TEST_P(ConvEngineTest, RepeatsBitForBit) {
  ForEachCheck([](const ConvCheck& check) {
    if (check.formats.src != Format::kNChw8c || check.params.group > 1) return;
    EXPECT_EQ(RunConv(check), RunConv(check)) << Describe(check);
  });
}

TEST_P(ConvEngineTest, CoverageIsWhole) {
  std::map<ConvDirection, std::map<Format, int>> seen;
  ForEachCheck([&](const ConvCheck& check) { ++seen[check.direction][check.formats.src]; });
  for (const ConvDirection direction : kDirections) {
    for (const Format format : kFormats) {
      // oneDNN has code for the blocks of this processor only.
      const bool blocked = format == Format::kNChw8c || format == Format::kNChw16c;
      if (GetParam() == std::string("onednn") && blocked && format != Context().blocked_format()) {
        continue;
      }
      EXPECT_GT(seen[direction][format], 0) << ToString(direction) << " " << ToString(format);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cpu, ConvEngineTest, ::testing::Values("pointwise", "onednn", "reference"),
                         [](const auto& info) { return std::string(info.param); });

// The formats the net runs in must not fall back to the reference.
TEST(ConvEngines, TheFormatsOfTheNetAreTaken) {
  const Context context;
  const Format blocked = context.blocked_format();
  const ConvParams first = {.src = {1, 3, 33, 29},
                            .out_channels = 64,
                            .kernel_h = 3,
                            .kernel_w = 3,
                            .pad_h = 1,
                            .pad_w = 1};
  ConvParams second = first;
  second.src.c = 64;
  for (const ConvDirection direction : kDirections) {
    EXPECT_EQ(EligibleConvEngines(context, second, direction, {blocked, blocked}).front(),
              "winograd4x3");
    if (direction == ConvDirection::kBackwardData) continue;  // nobody wants the image's gradient
    EXPECT_EQ(EligibleConvEngines(context, first, direction, {Format::kNCHW, blocked}).front(),
              "first_layer");
  }
}

// In bf16 a score layer reads and an image's layer writes what the convolutions between them take.
TEST(ConvEngines, TheBf16FormatsOfTheNetAreTaken) {
  const Context context;
  const Format format = FormatOfConvs(context, DType::kBF16);
  const ConvParams first = Case({1, 3, 33, 29}, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1);
  ConvParams second = first;
  second.src.c = 64;
  const ConvParams score = {.src = {1, 64, 33, 29}, .out_channels = 4};
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16;
  // Intel's of AVX512-FP16 are slow in products of bf16 but by AMX, which virtual machines may
  // lack.
  const bool fast =
      ProcessorHas("avx512_bf16") && !(ProcessorHas("avx512_fp16") && ProcessorHas("GenuineIntel"));
  const std::string expected = ProcessorHas("amx_bf16") ? "implicit_gemm_amx"
                               : fast                   ? "winograd2x3_bf16"
                                                        : "winograd4x3_bf16";
  for (const ConvDirection direction : kDirections) {
    const auto engine = [&](const ConvParams& params, ConvFormats formats) {
      return EligibleConvEngines(context, params, direction, formats).front();
    };
    EXPECT_EQ(engine(second, {format, format, kBF16, kBF16}), expected);
    EXPECT_EQ(engine(score, {format, Format::kNCHW, kBF16, kF32}), "pointwise");
    if (direction == ConvDirection::kBackwardData) continue;  // nobody wants the image's gradient
    EXPECT_EQ(engine(first, {Format::kNCHW, format, kF32, kBF16}), "first_layer");
  }
}

// Products of bf16 are exact in f32, in which oneDNN sums them, on every processor that it has code
// for. With 8 and 24 channels, which fill no vector, in NHWC alone.
TEST(ConvOnednn, TakesBf16) {
  const Context context;
  int count = 0;
  for (const Format format : {context.blocked_format(), Format::kNHWC}) {
    const ConvFormats formats = {format, format, DType::kBF16, DType::kBF16};
    for (const ConvParams& params : {Case({2, 64, 13, 17}, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
                                     Case({1, 32, 9, 7}, 96, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
                                     Case({2, 8, 9, 7}, 24, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
                                     Case({2, 24, 9, 7}, 8, {5, 3}, {2, 1}, {2, 1}, {1, 1}, 1)}) {
      for (const ConvDirection direction : kDirections) {
        for (const GradMode mode : {GradMode::kWrite, GradMode::kAdd}) {
          ConvCheck check{params, direction, formats, mode, "onednn"};
          check.products = DType::kBF16;
          if (direction == ConvDirection::kForward) check.params.relu = mode == GradMode::kAdd;
          const bool data = direction == ConvDirection::kBackwardData;
          check.params.relu_gradient = data && params.src.c < 64;
          const auto names = EngineNames(context, check);
          if (std::find(names.begin(), names.end(), check.engine) == names.end()) continue;
          if (data && mode == GradMode::kAdd) {
            // Rounded once more, before it is added: by 2^-9 of itself, which the products bound.
            const ConvError error = RunConvCheck(check);
            EXPECT_LE(error.units, error.products + 3 + 0x1p15) << Describe(check);
          } else {
            ExpectConvExact(check);
          }
          count += format == Format::kNHWC;
        }
      }
    }
  }
  if (count == 0) GTEST_SKIP() << "oneDNN has no bf16 convolutions for this processor";
  EXPECT_EQ(count, 24);
}

// Maps this large are cut for oneDNN's threads, which its AMX code of release 2.6 does so that the
// gradient is wrong by more than it is. Winograd's, whose errors the oracle has bounded, differs by
// 0.4 %.
TEST(ConvOnednn, GradientsOfLargeMapsAreThoseOfWinograd) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  constexpr ConvFormats kFormats = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
  ConvCheck check = {Case({1, 64, 159, 240}, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
                     ConvDirection::kBackwardWeights, kFormats, GradMode::kWrite, "onednn"};
  check.products = DType::kBF16;
  const std::vector<float> ours = [&] {
    ConvCheck winograd = check;
    winograd.engine = "winograd2x3_bf16";
    return RunConv(winograd);
  }();
  const std::vector<float> theirs = RunConv(check);
  double difference = 0, norm = 0;
  for (size_t i = 0; i < ours.size(); ++i) {
    difference += std::pow(theirs[i] - ours[i], 2);
    norm += std::pow(ours[i], 2);
  }
  EXPECT_LE(std::sqrt(difference / norm), 0.02);
}

// Less than a block, several and a last one of one row, several whole ones; 32, 28 and 8 rows are
// one.
TEST(ConvOnednn, BlocksOfRowsMatchTheOracle) {
  LSEG_SKIP_WITHOUT_AVX512_BF16();
  constexpr ConvFormats kFormats = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
  for (ConvParams params : {Case({2, 64, 13, 17}, 64, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
                            Case({2, 8, 85, 5}, 80, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
                            Case({1, 40, 24, 9}, 512, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1)}) {
    for (const bool plain : {false, true}) {
      params.bias = plain;
      params.relu = !plain;
      ConvCheck check{params, ConvDirection::kForward, kFormats, GradMode::kWrite, "onednn_rows"};
      check.products = DType::kBF16;
      ExpectConvExact(check);
    }
  }
}

// The "first_layer" and "pointwise" engines on bf16.
TEST(ConvBf16, EnginesOfOwnCodeMatchTheOracle) {
  constexpr DType kF32 = DType::kF32, kBF16 = DType::kBF16;
  const Context context;
  std::map<std::string, int> count;
  for (const ConvParams& params : Cases()) {
    for (const ConvDirection direction : kDirections) {
      for (const Format format : {Format::kNHWC, Format::kNChw8c, Format::kNChw16c}) {
        for (const std::string engine : {"pointwise", "first_layer"}) {
          const ConvFormats formats = engine == "pointwise"
                                          ? ConvFormats{format, Format::kNCHW, kBF16, kF32}
                                          : ConvFormats{Format::kNCHW, format, kF32, kBF16};
          ConvCheck check{params, direction, formats, GradMode::kWrite, engine};
          const auto names = EngineNames(context, check);
          if (std::find(names.begin(), names.end(), engine) == names.end()) continue;
          check.threads = 1 + count[engine + " " + ToString(direction)]++ % 2;
          ExpectConvExact(check);
          check.mode = GradMode::kAdd;
          check.params.relu = direction == ConvDirection::kForward;
          check.params.relu_gradient = direction == ConvDirection::kBackwardData;
          ExpectConvExact(check);
        }
      }
    }
  }
  for (const ConvDirection direction : kDirections) {
    EXPECT_EQ(count["pointwise " + ToString(direction)], 10 * 3);  // cases, formats
    if (direction == ConvDirection::kBackwardData) continue;
    EXPECT_EQ(count["first_layer " + ToString(direction)], 1 * 3);
  }
}

TEST(ConvFirstLayer, WeightsDoNotDependOnTheNumberOfThreads) {
  for (const Format format : {Format::kNHWC, Format::kNChw8c}) {
    ConvCheck check{Case({2, 3, 50, 53}, 24, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1),
                    ConvDirection::kBackwardWeights,
                    {Format::kNCHW, format},
                    GradMode::kWrite,
                    "first_layer"};
    ExpectSameOnThreads(check, {2, 3});
  }
}

TEST(ConvPointwise, DoesNotDependOnTheNumberOfThreads) {
  for (const ConvDirection direction : kDirections) {
    ConvCheck check{{.src = {2, 21, 50, 53}, .out_channels = 4},
                    direction,
                    {Format::kNChw8c, Format::kNCHW},
                    GradMode::kWrite,
                    "pointwise"};
    ExpectSameOnThreads(check, {2, 3});
  }
}

}  // namespace
}  // namespace lseg
