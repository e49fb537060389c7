// A NaN in what a convolution reads shows in all that is made of it, ReLU or not: nobody is to take
// the answer of a net that went astray for one. Not so in oneDNN's engines, whose ReLU may make it
// 0.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>

#include "kernels/conv_dtypes.h"
#include "tests/device.h"
#include "tests/kernels/conv_cases.h"
#include "tests/kernels/conv_check.h"
#include "tests/kernels/for_each_target.h"
#include "tests/kernels/wgmma.h"

namespace lseg {
namespace {

struct Case {
  ConvParams params;
  ConvFormats formats;
};

// An inner layer, an image's layer, a score layer and a fusion of planes, in the formats that nets
// have for them.
std::vector<Case> Cases(const Context& context) {
  const ConvParams inner = Conv3x3({1, 16, 9, 10}, 32), image = Conv3x3({1, 3, 9, 10}, 32);
  const ConvParams score = {.src = {1, 16, 9, 10}, .out_channels = 4};
  constexpr DType kF32 = DType::kF32;
  const ConvParams fusion = {.src = {1, 5, 9, 10}, .out_channels = 1};
  std::vector<Case> cases = {{score, {}}, {fusion, {}}};
  const auto add = [&](Format format, DType dtype) {
    cases.push_back({inner, {format, format, dtype, dtype}});
    cases.push_back({image, {Format::kNCHW, format, kF32, dtype}});
    cases.push_back({score, {format, Format::kNCHW, dtype, kF32}});
  };
  if (context.device() == Device::kCpu) {
    for (const Format format : {Format::kNChw8c, Format::kNChw16c}) add(format, kF32);
  }
  for (const DType dtype : {kF32, DType::kBF16, DType::kF16}) {
    if (MissingForConvs(context, dtype).empty()) add(FormatOfConvs(context, dtype), dtype);
  }
  return cases;
}

void ExpectNans(const ConvCheck& check) {
  const Shape src = check.params.src, dst = check.params.Dst();
  const int64_t at = src.Count() / 2, y = at / src.w % src.h, x = at % src.w;
  const std::vector<float> out = RunConv(check);
  int64_t lost = 0;
  for (int64_t c = 0; c < dst.c; ++c) {
    for (int64_t v = std::max<int64_t>(y - check.params.pad_h, 0); v <= y + check.params.pad_h;
         ++v) {
      for (int64_t u = std::max<int64_t>(x - check.params.pad_w, 0); u <= x + check.params.pad_w;
           ++u) {
        if (v < dst.h && u < dst.w) lost += !std::isnan(out[(c * dst.h + v) * dst.w + u]);
      }
    }
  }
  EXPECT_EQ(lost, 0) << Describe(check);
}

// The names of the engines that were run: those that are proven, or the others.
std::set<std::string> RunAll(Device device, bool unproven = false) {
  std::map<std::string, bool> is_unproven;
  for (const ConvEngine& engine : ConvEngines(device)) is_unproven[engine.name] = engine.unproven;
  const Context context(device);
  std::set<std::string> names;
  for (const Case& c : Cases(context)) {
    for (const std::string& name :
         EligibleConvEngines(context, c.params, ConvDirection::kForward, c.formats)) {
      if (name.starts_with("onednn") || is_unproven.at(name) != unproven) continue;
      names.insert(name);
      ConvCheck check;
      check.params = c.params;
      check.formats = c.formats;
      check.engine = name;
      check.device = device;
      check.nan = true;
      check.params.relu = true;
      ExpectNans(check);
    }
  }
  return names;
}

TEST(ConvNan, ShowsOnTheCpu) {
  std::set<std::string> names;
  ForEachTarget([&] { names.merge(RunAll(Device::kCpu)); });
  EXPECT_THAT(names, testing::IsSupersetOf(
                         {"pointwise", "first_layer", "winograd4x3", "winograd2x3", "reference"}));
}

TEST(ConvNan, ShowsOnAGpu) {
  LSEG_SKIP_WITHOUT(Device::kCuda);
  EXPECT_THAT(RunAll(Device::kCuda),
              testing::IsSupersetOf({"first_layer", "score", "planes", "implicit_gemm_256x64",
                                     "implicit_gemm_128x128", "simt_gemm_128x64", "direct"}));
}

TEST(ConvNan, ShowsByWgmma) {
  LSEG_SKIP_WITHOUT(Device::kCuda);
  LSEG_SKIP_WITHOUT_WGMMA();
  EXPECT_THAT(RunAll(Device::kCuda, true), testing::Contains("wgmma_gemm_256x64"));
}

}  // namespace
}  // namespace lseg
