// For tests of kernels that need wgmma: a GPU of compute capability 9.0, or softgpu that says it is
// one (HOPPER in tests/lseg_test.cmake).
#pragma once

#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/conv.h"
#include "tests/kernels/conv_cases.h"

namespace lseg {

inline bool HasWgmma() {
  const auto names = EligibleConvEngines(
      Context(Device::kCuda), Conv3x3({1, 64, 8, 8}, 64), ConvDirection::kForward,
      {Format::kNHWC, Format::kNHWC, DType::kBF16, DType::kBF16});
  return std::any_of(names.begin(), names.end(),
                     [](const std::string& name) { return name.starts_with("wgmma"); });
}

}  // namespace lseg

#define LSEG_SKIP_WITHOUT_WGMMA()                                                \
  do {                                                                           \
    if (!HasWgmma()) GTEST_SKIP() << "the GPU is not of compute capability 9.0"; \
  } while (false)
