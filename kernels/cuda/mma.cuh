// Matrix products by element type: what the kernels that are compiled for several types know of
// ptx.cuh's mma instructions.
#pragma once

#include <type_traits>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ptx.cuh"

namespace lseg::cuda {

// kDepth: products an instruction sums up. f32 stands for tf32. kOnes: a register of operands that
// are all 1. Round: a value as the products take it.
template <class T>
struct Mma {
  static constexpr int kDepth = 16;
  static constexpr uint32_t kOnes = std::is_same_v<T, __half> ? 0x3c003c00 : 0x3f803f80;
  __device__ static T Round(float value) { return FromFloat<T>(value); }
  __device__ static void Run(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    if constexpr (std::is_same_v<T, __half>) {
      MmaF16(d, a, b0, b1);
    } else {
      MmaBf16(d, a, b0, b1);
    }
  }
};

template <>
struct Mma<float> {
  static constexpr int kDepth = 8;
  static constexpr uint32_t kOnes = 0x3f800000;
  __device__ static float Round(float value) { return RoundToTf32(value); }
  __device__ static void Run(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MmaTf32(d, a, b0, b1);
  }
};

}  // namespace lseg::cuda
