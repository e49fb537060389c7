// For cases that want a processor's instructions for bf16.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <string>

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
