// The engines of NVIDIA's libraries: what is said where they cannot be had, and on a GPU that has
// them all directions, formats and types against the double oracle. Their own ops, bias and its
// gradient, run on softgpu too.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "kernels/conv_libraries.h"
#include "kernels/cuda/conv_bias.h"
#include "kernels/cuda/engine_library.h"
#include "kernels/runtime/random.h"
#include "tests/error_of.h"
#include "tests/kernels/conv_cases.h"
#include "tests/kernels/conv_check.h"
#include "tests/kernels/device_memory.h"

namespace lseg {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr ConvDirection kDirections[] = {ConvDirection::kForward, ConvDirection::kBackwardData,
                                         ConvDirection::kBackwardWeights};
constexpr DType kTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

TEST(EngineLibrary, AbsentFileIsNamedWithThePlacesLookedIn) {
  EXPECT_THAT(ErrorOf([] { cuda::LoadEngineLibrary("liblseg_absent.so"); }),
              AllOf(HasSubstr("liblseg_absent.so could not be loaded"), HasSubstr("Looked for in "),
                    HasSubstr("on the library path")));
}

TEST(EngineLibrary, IsForAGpuOnly) {
  const Context cpu(Device::kCpu);
  for (const char* engine : {"cudnn", "cublas"}) {
    EXPECT_THAT(ErrorOf([&] {
                  MakeConvPlan(cpu, Conv3x3({1, 8, 4, 4}, 8), ConvDirection::kForward, {}, engine);
                }),
                HasSubstr("of device cuda, not of cpu"));
  }
}

TEST(EngineLibrary, SoftgpuHasNone) {
  const Context context(Device::kCuda);
  if (!context.Describe().starts_with("softgpu")) GTEST_SKIP() << "the device is a GPU";
  EXPECT_THAT(
      ErrorOf([&] {
        MakeConvPlan(context, Conv3x3({1, 8, 4, 4}, 8), ConvDirection::kForward, {}, "cudnn");
      }),
      HasSubstr("the device is softgpu"));
}

TEST(EngineLibrary, GivesItsEngines) {
  if (!LSEG_WITH_CUDNN) GTEST_SKIP() << "built without cuDNN or cuBLAS";
  const std::vector<ConvEngine>* engines = nullptr;
  const std::string error =
      ErrorOf([&] { engines = &cuda::LoadEngineLibrary("liblseg_cudnn.so"); });
  if (engines == nullptr) GTEST_SKIP() << error;
  std::vector<std::string> names;
  for (const ConvEngine& engine : *engines) names.push_back(engine.name);
  EXPECT_THAT(names, testing::ElementsAre("cudnn", "cublas"));
}

std::vector<float> Draw(int64_t count, uint64_t stream) {
  Random random(1, stream);
  std::vector<float> values(count);
  for (float& value : values) value = random.Uniform(-1, 1);
  return values;
}

// Sizes with and without whole vectors of 16 bytes, more channels than a block takes.
constexpr Shape kMaps[] = {{2, 40, 5, 8}, {1, 3, 7, 9}, {3, 72, 33, 1}};

TEST(ConvBias, AddsAndCutsOff) {
  Context context(Device::kCuda);
  for (const Shape& shape : kMaps) {
    for (const Format format : {Format::kNCHW, Format::kNHWC}) {
      for (const DType dtype : kTypes) {
        const std::vector<float> before = Rounded(Draw(shape.Count(), 1), dtype);
        const std::vector<float> bias = Draw(shape.c, 2);
        const TypedMemory map(context, dtype, before);
        const Memory<float> device_bias(context, bias);
        cuda::AddBiasRelu(context, shape, format, dtype, map.data(), device_bias.data(), true);
        const std::vector<float> after = map.Values();
        for (int64_t c = 0; c < shape.c; ++c) {
          for (int64_t i = 0; i < shape.n * shape.h * shape.w; ++i) {
            const int64_t pixels = shape.h * shape.w;
            const int64_t at =
                Offset(shape, format, i / pixels, c, i % pixels / shape.w, i % pixels % shape.w);
            ASSERT_EQ(after[at], Rounded(std::max(before[at] + bias[c], 0.0f), dtype))
                << ToString(shape) << " " << ToString(format) << " " << ToString(dtype);
          }
        }
      }
    }
  }
}

TEST(ConvBias, GradientIsTheSumOverPixels) {
  Context context(Device::kCuda);
  for (const Shape& shape : kMaps) {
    for (const Format format : {Format::kNCHW, Format::kNHWC}) {
      for (const DType dtype : kTypes) {
        const bool add = dtype == DType::kF16;
        const std::vector<float> map = Rounded(Draw(shape.Count(), 1), dtype);
        const std::vector<float> before = Draw(shape.c, 2);
        const TypedMemory d_map(context, dtype, map);
        const Memory<float> d_bias(context, before);
        const cuda::BiasGradient gradient(context, shape, format, dtype);
        const Buffer workspace(context.device(), gradient.WorkspaceBytes());
        gradient.Run(context, d_map.data(), d_bias.data(), add, workspace.data());
        const std::vector<float> after = d_bias.Values();
        for (int64_t c = 0; c < shape.c; ++c) {
          double sum = add ? before[c] : 0, absolute = std::fabs(sum);
          const int64_t pixels = shape.h * shape.w;
          for (int64_t i = 0; i < shape.n * pixels; ++i) {
            const double value = map[Offset(shape, format, i / pixels, c, i % pixels / shape.w,
                                            i % pixels % shape.w)];
            sum += value;
            absolute += std::fabs(value);
          }
          // A sum of k terms in f32, in any order: conv_check.h.
          ASSERT_NEAR(after[c], sum, absolute * (shape.n * pixels + 2) * 0x1p-24)
              << ToString(shape) << " " << ToString(format) << " " << ToString(dtype);
        }
      }
    }
  }
}

// What follows needs a GPU with the libraries.
class ConvLibraryTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    if (!LSEG_WITH_CUDNN) GTEST_SKIP() << "built without cuDNN or cuBLAS";
    const std::string error = ErrorOf([&] { cuda::LibraryEngines(context_); });
    if (!error.empty()) GTEST_SKIP() << error;
  }

  bool Supports(const ConvCheck& c) const {
    const auto names = LibraryConvEngines(context_, c.params, c.direction, c.formats);
    return std::find(names.begin(), names.end(), c.engine) != names.end();
  }

  // On tensor cores; and in a narrow type a library rounds twice more than own kernels do: bias or
  // gradient of the weights, and a result that then goes to another format.
  static void ExpectExact(const ConvCheck& check) {
    const auto unit = [](DType t) { return t == DType::kF32 ? 0 : RoundingUnit(t); };
    const double rounding =
        2 * 0x1p24 * std::max(unit(check.formats.src_dtype), unit(check.formats.dst_dtype));
    const ConvError error = RunConvCheck(check);
    EXPECT_LE(error.units, 2 * (error.products + 3) + rounding) << Describe(check);
  }

  Context context_{Device::kCuda};
};

TEST_P(ConvLibraryTest, MatchesTheOracle) {
  constexpr std::pair<Format, Format> kFormats[] = {{Format::kNHWC, Format::kNHWC},
                                                    {Format::kNCHW, Format::kNHWC},
                                                    {Format::kNHWC, Format::kNCHW},
                                                    {Format::kNCHW, Format::kNCHW}};
  int count = 0, checked = 0;
  for (const ConvParams& params : LibraryCases()) {
    for (const auto& [src, dst] : kFormats) {
      for (const DType dtype : kTypes) {
        for (const ConvDirection direction : kDirections) {
          ConvCheck check{
              params, direction, {src, dst, dtype, dtype}, GradMode::kWrite, GetParam()};
          check.device = Device::kCuda;
          check.products = dtype;
          // The image and the score maps of a net are f32 in NCHW.
          if (src != dst) {
            (src == Format::kNCHW ? check.formats.src_dtype : check.formats.dst_dtype) =
                DType::kF32;
          }
          check.params.allow_tf32 = dtype == DType::kF32 && count % 2 == 0;
          check.params.relu = direction == ConvDirection::kForward && count % 3 != 0;
          if (direction != ConvDirection::kForward && count % 4 > 1) check.mode = GradMode::kAdd;
          ++count;
          if (!Supports(check)) continue;
          ++checked;
          ExpectExact(check);
        }
      }
    }
  }
  EXPECT_GT(checked, 30) << "of " << count;
}

TEST_P(ConvLibraryTest, TakesTheTrunkOfANet) {
  for (const DType dtype : kTypes) {
    for (const ConvDirection direction : kDirections) {
      ConvParams params = Conv3x3({1, 64, 12, 20}, 64);
      if (GetParam() == std::string("cublas")) params.kernel_h = params.kernel_w = 1;
      if (params.kernel_h == 1) params.pad_h = params.pad_w = 0;
      const ConvFormats formats{Format::kNHWC, Format::kNHWC, dtype, dtype};
      // What the library says of it, if anything.
      EXPECT_EQ(ErrorOf([&] { MakeConvPlan(context_, params, direction, formats, GetParam()); }),
                "")
          << ToString(direction) << " " << ToString(dtype);
    }
  }
}

TEST_P(ConvLibraryTest, RepeatsBitForBit) {
  for (const ConvDirection direction : kDirections) {
    ConvCheck check{{.src = {2, 64, 33, 47}, .out_channels = 64},
                    direction,
                    {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16},
                    GradMode::kWrite,
                    GetParam()};
    check.device = Device::kCuda;
    EXPECT_EQ(RunConv(check), RunConv(check)) << ToString(direction);
  }
}

TEST_P(ConvLibraryTest, SaysWhatItDoesNotSupport) {
  ConvParams params = Conv3x3({1, 64, 8, 8}, 64);
  const ConvFormats formats{Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kF16};
  EXPECT_THAT(ErrorOf([&] {
                MakeConvPlan(context_, params, ConvDirection::kForward, formats, GetParam());
              }),
              HasSubstr("does not support forward"));
}

INSTANTIATE_TEST_SUITE_P(Libraries, ConvLibraryTest, testing::Values("cudnn", "cublas"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
}  // namespace lseg
