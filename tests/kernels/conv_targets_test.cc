// The engines of own SIMD code on every instruction set that this processor has and that they are
// compiled for.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>

#include "kernels/cpu/conv_first.h"
#include "kernels/runtime/buffer.h"
#include "tests/kernels/conv_check.h"
#include "tests/kernels/for_each_target.h"
#include "tests/kernels/op_check.h"

namespace lseg {
namespace {

constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};

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

TEST(ConvTargets, Winograd4x3Bf16) {
  constexpr ConvFormats kNhwc = {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16};
  ForEachTarget([] {
    for (const ConvDirection direction : kDirections) {
      const ConvCheck check = {.params = {.src = {2, 16, 9, 30},
                                          .out_channels = 80,
                                          .kernel_h = 3,
                                          .kernel_w = 3,
                                          .pad_h = 1,
                                          .pad_w = 1},
                               .direction = direction,
                               .formats = kNhwc,
                               .engine = "winograd4x3_bf16",
                               .threads = 1};
      EXPECT_LE(RunConvCheck(check).units, 32) << Describe(check);  // see conv_winograd_test.cc
    }
  });
}

TEST(ConvTargets, FirstLayer) {
  ForEachTarget([] {
    for (const Format format : {Format::kNHWC, Format::kNChw8c, Format::kNChw16c}) {
      for (const DType dtype : {DType::kF32, DType::kBF16}) {
        for (const int64_t channels : {1, 2, 3, 4}) {
          ConvCheck check = {.params = {.src = {2, channels, 9, 31},
                                        .out_channels = 48,
                                        .kernel_h = 3,
                                        .kernel_w = 3,
                                        .pad_h = 1,
                                        .pad_w = 1,
                                        .bias = channels != 1},
                             .formats = {Format::kNCHW, format, DType::kF32, dtype},
                             .engine = "first_layer",
                             .threads = 2};
          ExpectConvExact(check);
          check.params.relu = true;
          ExpectConvExact(check);
          check.params.relu = false;
          check.direction = ConvDirection::kBackwardWeights;
          check.mode = GradMode::kAdd;
          ExpectConvExact(check);
        }
      }
    }
  });
}

// What large maps are written by: the same values, wherever they lie.
TEST(ConvTargets, FirstLayersRowsPastTheCaches) {
  constexpr int64_t kWidth = 31, kOut = 64;
  ForEachTarget([] {
    for (const int64_t block : {int64_t{8}, int64_t{16}, kOut}) {
      const FirstLayerShape shape = {
          .channels = 3, .width = kWidth, .out = kOut, .block = block, .dst_block = kWidth * block};
      const std::vector<float> weight = Draw(1, kOut * 27), bias = Draw(2, kOut);
      const std::vector<float> lines = Draw(3, 9 * FirstLayerLine(shape));
      std::vector<float> packed(static_cast<size_t>(FirstLayerPackedCount(shape)));
      FirstLayerPack(shape, weight.data(), packed.data());
      const auto row = [&](bool stream, int64_t at) {
        const Buffer memory(Device::kCpu, (kWidth * kOut + 16) * 4);
        float* dst = static_cast<float*>(memory.data()) + at;
        FirstLayerRow(shape, lines.data(), packed.data(), bias.data(), true, stream, dst);
        return std::vector<float>(dst, dst + kWidth * kOut);
      };
      const std::vector<float> expected = row(false, 0);
      EXPECT_EQ(row(true, 0), expected) << "block " << block;
      EXPECT_EQ(row(true, 1), expected) << "block " << block << ", not aligned";
    }
  });
}

TEST(ConvTargets, Pointwise) {
  ForEachTarget([] {
    for (const ConvDirection direction : kDirections) {
      for (const Format format :
           {Format::kNCHW, Format::kNHWC, Format::kNChw8c, Format::kNChw16c}) {
        for (const DType dtype : {DType::kF32, DType::kBF16}) {
          if (dtype == DType::kBF16 && format == Format::kNCHW) continue;
          for (const int64_t out : {1, 2, 4, 7}) {
            ExpectConvExact({.params = {.src = {2, 37, 9, 31}, .out_channels = out},
                             .direction = direction,
                             .formats = {format, Format::kNCHW, dtype, DType::kF32},
                             .engine = "pointwise",
                             .threads = 1});
          }
        }
      }
    }
  });
}

// d_src = 1 * d_dst, to bf16: what the vectors' conversions give is what the scalar one gives.
TEST(ConvTargets, RoundingToBf16) {
  std::vector<uint32_t> bits;
  for (const uint32_t upper : {0x0000u, 0x0001u, 0x3f80u, 0x3f81u, 0x7f7fu, 0x7f80u, 0x7fc0u}) {
    for (const uint32_t lower : {0x0000u, 0x0001u, 0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      bits.push_back(upper << 16 | lower);
      bits.push_back(0x80000000u | upper << 16 | lower);
    }
  }
  const ConvParams params = {
      .src = {1, 16, 1, static_cast<int64_t>(bits.size())}, .out_channels = 1, .bias = false};
  ForEachTarget([&] {
    Context context;
    const auto plan =
        MakeConvPlan(context, params, ConvDirection::kBackwardData,
                     {Format::kNHWC, Format::kNCHW, DType::kBF16, DType::kF32}, "pointwise");
    const std::vector<float> weight(16, 1);
    std::vector<float> packed(plan->PackedWeightBytes() / 4);
    plan->PackWeights(context, weight.data(), packed.data());
    std::vector<uint16_t> d_src(bits.size() * 16);
    ConvArgs args;
    args.d_dst = bits.data();
    args.weight = packed.data();
    args.d_src = d_src.data();
    args.d_src_mode = GradMode::kWrite;
    plan->Run(context, args);
    for (size_t i = 0; i < d_src.size(); ++i) {
      const float value = std::bit_cast<float>(bits[i / 16]);
      if (std::isnan(value)) {
        ASSERT_TRUE(std::isnan(BF16ToF32(d_src[i]))) << std::hex << bits[i / 16];
      } else {
        // 1 * -0 + 0 is 0.
        ASSERT_EQ(d_src[i], F32ToBF16(value + 0.0f)) << std::hex << bits[i / 16];
      }
    }
  });
}

}  // namespace
}  // namespace lseg
