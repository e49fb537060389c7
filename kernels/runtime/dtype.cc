// Software conversions: they run on weights files only, never inside a kernel (which has those of
// bfloat16.h).
#include "kernels/runtime/dtype.h"

#include <bit>
#include <cmath>

#include "kernels/runtime/bfloat16.h"
#include "kernels/runtime/check.h"

namespace lseg {

int64_t SizeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kI32:
      return 4;
    case DType::kF16:
    case DType::kBF16:
      return 2;
    case DType::kU8:
      return 1;
  }
  LSEG_FAIL("unknown dtype " << static_cast<int>(dtype));
}

std::string ToString(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "f32";
    case DType::kF16:
      return "f16";
    case DType::kBF16:
      return "bf16";
    case DType::kU8:
      return "u8";
    case DType::kI32:
      return "i32";
  }
  LSEG_FAIL("unknown dtype " << static_cast<int>(dtype));
}

float F16ToF32(uint16_t bits) {
  const uint32_t sign = bits >> 15, exponent = (bits >> 10) & 31, fraction = bits & 1023;
  float magnitude;
  if (exponent == 31) {
    magnitude = fraction == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    magnitude = static_cast<float>(fraction) * 0x1p-24f;
  } else {
    magnitude = std::bit_cast<float>((exponent + 112) << 23 | fraction << 13);  // 112: of biases
  }
  return sign ? -magnitude : magnitude;
}

uint16_t F32ToF16(float value) {
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  const float magnitude = std::fabs(value);
  if (std::isnan(value)) return sign | 0x7e00;
  if (magnitude >= 65520.0f) return sign | 0x7c00;  // halfway to the first value out of range
  if (magnitude < std::ldexp(1.0f, -14)) {
    return sign | static_cast<uint16_t>(std::nearbyint(std::ldexp(magnitude, 24)));
  }
  int exponent;
  const float mantissa = std::frexp(magnitude, &exponent);  // in [0.5, 1)
  const auto rounded = static_cast<uint32_t>(std::nearbyint(std::ldexp(mantissa, 11)));
  // `rounded` may be 2048, which carries into the exponent as it should.
  return sign | static_cast<uint16_t>(((exponent + 13) << 10) + rounded);
}

float BF16ToF32(uint16_t bits) { return ToFloat(static_cast<BFloat16>(bits)); }

uint16_t F32ToBF16(float value) { return static_cast<uint16_t>(FromFloat<BFloat16>(value)); }

}  // namespace lseg
