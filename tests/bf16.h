// For cases in bf16, of which a CPU's convolutions may not be capable.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

#include "kernels/conv_dtypes.h"

#define LSEG_SKIP_WITHOUT_BF16(device, in_bf16)                                   \
  do {                                                                            \
    if ((in_bf16) && (device) == Device::kCpu) {                                  \
      const std::string missing = MissingForConvs(Context(device), DType::kBF16); \
      if (!missing.empty()) GTEST_SKIP() << "bf16 needs " << missing;             \
    }                                                                             \
  } while (false)

namespace lseg {

// What the system says of the processor, not what the tested code found out.
inline bool ProcessorHas(const std::string& feature) {
  std::ifstream file("/proc/cpuinfo");
  const std::string all{std::istreambuf_iterator<char>(file), {}};
  return all.find(feature) != std::string::npos;
}

}  // namespace lseg

#define LSEG_SKIP_WITHOUT_AVX512_BF16()                                                         \
  do {                                                                                          \
    if (!lseg::ProcessorHas("avx512_bf16")) GTEST_SKIP() << "the processor has no AVX512-BF16"; \
  } while (false)

#define LSEG_SKIP_WITHOUT_AMX_BF16()                                                          \
  do {                                                                                        \
    if (!lseg::ProcessorHas("amx_bf16")) GTEST_SKIP() << "the processor has no AMX for bf16"; \
  } while (false)
