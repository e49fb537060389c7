// The engines of own SIMD code on every instruction set that this processor has and that they are
// compiled for, not the best one alone: a machine without the others would never run them.
#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <hwy/targets.h>

#include "tests/kernels/conv_check.h"

namespace lseg {
namespace {

constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};

// Calls each() once a set. Sets that the engines are not compiled for come out as the baseline.
template <typename Each>
void ForEachTarget(Each each) {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t supported = hwy::SupportedTargets();
  int count = 0;
  for (int64_t target = 1; target <= supported && target > 0; target <<= 1) {
    if ((supported & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    each();
    ++count;
  }
  hwy::SetSupportedTargetsForTest(0);
  EXPECT_GT(count, 0);
}

TEST(ConvTargets, Winograd4x3) {
  ForEachTarget([] {
    for (const ConvDirection direction : kDirections) {
      for (const Format format : {Format::kNChw8c, Format::kNChw16c}) {
        const ConvCheck check = {.params = {.src = {2, 13, 9, 30},
                                            .out_channels = 85,
                                            .kernel_h = 3,
                                            .kernel_w = 3,
                                            .pad_h = 1,
                                            .pad_w = 1},
                                 .direction = direction,
                                 .formats = {format, format},
                                 .engine = "winograd4x3",
                                 .threads = 1};
        EXPECT_LE(RunConvCheck(check).units, 32) << Describe(check);  // see conv_winograd_test.cc
        if (direction == ConvDirection::kBackwardWeights) continue;
        ConvCheck small = check;
        small.engine = "winograd2x3";
        EXPECT_LE(RunConvCheck(small).units, 8) << Describe(small);
      }
    }
  });
}

TEST(ConvTargets, FirstLayer) {
  ForEachTarget([] {
    for (const Format format : {Format::kNChw8c, Format::kNChw16c}) {
      for (const int64_t channels : {1, 3, 4}) {
        for (const bool relu : {false, true}) {
          ExpectConvExact({.params = {.src = {2, channels, 9, 31},
                                      .out_channels = 48,
                                      .kernel_h = 3,
                                      .kernel_w = 3,
                                      .pad_h = 1,
                                      .pad_w = 1,
                                      .bias = channels != 1,
                                      .relu = relu},
                           .formats = {Format::kNCHW, format},
                           .engine = "first_layer",
                           .threads = 2});
        }
      }
    }
  });
}

TEST(ConvTargets, Pointwise) {
  ForEachTarget([] {
    for (const ConvDirection direction : kDirections) {
      for (const Format format :
           {Format::kNCHW, Format::kNHWC, Format::kNChw8c, Format::kNChw16c}) {
        for (const int64_t out : {1, 2, 4, 7}) {
          ExpectConvExact({.params = {.src = {2, 37, 9, 31}, .out_channels = out},
                           .direction = direction,
                           .formats = {format, Format::kNCHW},
                           .engine = "pointwise",
                           .threads = 1});
        }
      }
    }
  });
}

}  // namespace
}  // namespace lseg
