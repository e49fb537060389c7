// Element types inside kernels: f32, f16 and bf16 in memory, f32 in registers. And the step from a
// DType that is known when the program runs to the type a kernel is compiled for.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

#include "kernels/runtime/check.h"
#include "kernels/runtime/dtype.h"

namespace lseg::cuda {

__device__ __forceinline__ float ToFloat(float value) { return value; }
__device__ __forceinline__ float ToFloat(__half value) { return __half2float(value); }
__device__ __forceinline__ float ToFloat(__nv_bfloat16 value) { return __bfloat162float(value); }

// Rounded to nearest, ties to even.
template <typename T>
__device__ __forceinline__ T FromFloat(float value);
template <>
__device__ __forceinline__ float FromFloat<float>(float value) {
  return value;
}
template <>
__device__ __forceinline__ __half FromFloat<__half>(float value) {
  return __float2half_rn(value);
}
template <>
__device__ __forceinline__ __nv_bfloat16 FromFloat<__nv_bfloat16>(float value) {
  return __float2bfloat16_rn(value);
}

// Calls f(T{}) with the type of `dtype` (IsFloat): WithElementType(dtype, [&](auto t) { using T =
// decltype(t);
template <typename F>
void WithElementType(DType dtype, F f) {
  switch (dtype) {
    case DType::kF32:
      return f(float{});
    case DType::kF16:
      return f(__half{});
    case DType::kBF16:
      return f(__nv_bfloat16{});
    default:
      LSEG_FAIL("kernels on the GPU take f32, f16 and bf16, not " << ToString(dtype));
  }
}

}  // namespace lseg::cuda
