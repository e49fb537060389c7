// Products of a warpgroup by element type: what the kernels that are compiled for several types
// know of ptx_sm90a.cuh's wgmma instructions. f32 stands for tf32.
#pragma once

#include <type_traits>

#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ptx_sm90a.cuh"

namespace lseg::cuda {

template <class T, int kCount>
__device__ void Product(float (&sums)[kCount][4], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    WgmmaF16(sums, a, b);
  } else if constexpr (std::is_same_v<T, float>) {
    WgmmaTf32(sums, a, b);
  } else {
    WgmmaBf16(sums, a, b);
  }
}

// The rows of b are k values; not for tf32.
template <class T, int kCount>
__device__ void ProductTurned(float (&sums)[kCount][4], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    WgmmaTurnedF16(sums, a, b);
  } else {
    WgmmaTurnedBf16(sums, a, b);
  }
}

}  // namespace lseg::cuda
