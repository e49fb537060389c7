// For the entry points of sources that use Highway but are compiled for AVX-512 alone: calls the
// function of that target, or fails where this build has none. Included last, where HWY_ONCE.
#pragma once

#include <hwy/highway.h>

#include "kernels/runtime/check.h"

#if HWY_TARGETS & HWY_AVX3
#define LSEG_AVX512_ONLY(function, ...) return N_AVX3::function(__VA_ARGS__)
#else
#define LSEG_AVX512_ONLY(function, ...)                             \
  do {                                                              \
    [](const auto&...) {}(__VA_ARGS__);                             \
    LSEG_FAIL(#function << ": this build has no code for AVX-512"); \
  } while (false)
#endif
