// Which instruction sets the sources that use Highway are compiled for. Included before
// hwy/highway.h: the baseline (SSE2 on x86-64, NEON on Arm), AVX2 and AVX-512. The sets between
// and beyond them (bits 4 to 6, which newer releases name HWY_AVX3_ZEN4 and the like) bring these
// kernels nothing, and scalable vectors cannot be kept in arrays of registers.
// A build that names its own with -DHWY_DISABLED_TARGETS=... has its way.
#pragma once

#include <hwy/detect_compiler_arch.h>

#ifndef HWY_DISABLED_TARGETS
#if HWY_ARCH_X86
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_AVX3_DL | (7LL << 4))
#elif HWY_ARCH_ARM
#define HWY_DISABLED_TARGETS (HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
#endif
#endif
