// For cases in bf16, of which a CPU's convolutions may not be capable.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "kernels/conv_dtypes.h"

#define LSEG_SKIP_WITHOUT_BF16(device, in_bf16)                                   \
  do {                                                                            \
    if ((in_bf16) && (device) == Device::kCpu) {                                  \
      const std::string missing = MissingForConvs(Context(device), DType::kBF16); \
      if (!missing.empty()) GTEST_SKIP() << "bf16 needs " << missing;             \
    }                                                                             \
  } while (false)
