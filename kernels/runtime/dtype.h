// Element types of tensors and their conversions on the host.
#pragma once

#include <cstdint>
#include <string>

namespace lseg {

enum class DType { kF32, kF16, kBF16, kU8, kI32 };

int64_t SizeOf(DType dtype);
std::string ToString(DType dtype);
// f32, f16 and bf16: labels and indices are no floats.
inline bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16;
}

// IEEE binary16 and bfloat16, stored as their bits. To narrow types the value is rounded to nearest,
// ties to even; overflow gives infinity, a NaN stays a (quiet) NaN.
float F16ToF32(uint16_t bits);
uint16_t F32ToF16(float value);
float BF16ToF32(uint16_t bits);
uint16_t F32ToBF16(float value);

}  // namespace lseg
