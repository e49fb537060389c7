// See float_format.h.
#include "tests/softgpu/machine/float_format.h"

#include <algorithm>
#include <bit>

namespace softgpu {
namespace {

// magnitude / 2^shift, rounded.
uint64_t ShiftRounded(uint64_t magnitude, int shift, bool negative, RoundTo mode) {
  if (shift <= 0) return magnitude << -shift;
  uint64_t kept = 0, dropped = magnitude, half = 0;
  if (shift < 64) {
    kept = magnitude >> shift;
    dropped = magnitude & ((uint64_t{1} << shift) - 1);
  }
  if (shift <= 64) half = uint64_t{1} << (shift - 1);
  const bool tie = half != 0 && dropped == half, above = half != 0 && dropped > half;
  bool up = false;
  switch (mode) {
    case RoundTo::kNearest:
      up = above || (tie && (kept & 1));
      break;
    case RoundTo::kNearestAway:
      up = above || tie;
      break;
    case RoundTo::kZero:
      break;
    case RoundTo::kDown:
      up = negative && dropped != 0;
      break;
    case RoundTo::kUp:
      up = !negative && dropped != 0;
      break;
  }
  return kept + (up ? 1 : 0);
}

}  // namespace

Number NumberOf(double value) {
  const uint64_t bits = std::bit_cast<uint64_t>(value);
  const uint64_t mantissa = bits & 0x000fffffffffffffu;
  const int exponent = static_cast<int>(bits >> 52) & 0x7ff;
  Number number;
  number.negative = (bits >> 63) != 0;
  number.nan = exponent == 0x7ff && mantissa != 0;
  number.infinite = exponent == 0x7ff && mantissa == 0;
  number.magnitude = exponent == 0 ? mantissa : mantissa | uint64_t{1} << 52;
  number.exponent = std::max(exponent, 1) - 1075;
  return number;
}

uint64_t RoundToFormat(const Number& number, const FloatFormat& format, RoundTo mode, bool finite) {
  const int sign_at = format.exponent_bits + format.mantissa_bits;
  const uint64_t sign = uint64_t{number.negative} << sign_at;
  if (number.nan) return format.nan << format.padding;
  const uint64_t infinity = format.largest + 1;
  uint64_t bits = infinity;
  if (!number.infinite && number.magnitude == 0) return sign << format.padding;
  if (!number.infinite) {
    const int bias = (1 << (format.exponent_bits - 1)) - 1;
    const int top = 63 - std::countl_zero(number.magnitude) + number.exponent;
    const int scale = std::max(top, 1 - bias);
    // With its leading 1 in place, the mantissa carries into the exponent by itself.
    const uint64_t mantissa = ShiftRounded(
        number.magnitude, scale - format.mantissa_bits - number.exponent, number.negative, mode);
    bits = top > bias + 1
               ? infinity
               : (static_cast<uint64_t>(scale + bias - 1) << format.mantissa_bits) + mantissa;
    const bool toward_zero = mode == RoundTo::kZero ||
                             (mode == RoundTo::kDown && !number.negative) ||
                             (mode == RoundTo::kUp && number.negative);
    if (bits > format.largest) bits = toward_zero ? format.largest : infinity;
  }
  if (finite && bits > format.largest) bits = format.largest;
  return (sign | bits) << format.padding;
}

}  // namespace softgpu
