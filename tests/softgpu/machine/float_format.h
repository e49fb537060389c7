// Rounding to any float format, in integers: exact in every mode. For the conversions that the
// processor does not have.
#pragma once

#include <cstdint>

namespace softgpu {

// (-1)^negative * magnitude * 2^exponent, or no number, or an infinity.
struct Number {
  bool negative = false, nan = false, infinite = false;
  uint64_t magnitude = 0;
  int exponent = 0;
};
Number NumberOf(double value);
inline Number NumberOf(int64_t value) {
  const auto bits = static_cast<uint64_t>(value);
  return {value < 0, false, false, value < 0 ? 0 - bits : bits, 0};
}
inline Number NumberOf(uint64_t value) { return {false, false, false, value, 0}; }

struct FloatFormat {
  int exponent_bits, mantissa_bits;
  uint64_t nan;
  uint64_t largest;  // the bits of the largest number
  int padding = 0;   // zero bits below the mantissa
};
inline constexpr FloatFormat kFormatF16 = {5, 10, 0x7fff, 0x7bff};
inline constexpr FloatFormat kFormatBF16 = {8, 7, 0x7fff, 0x7f7f};
inline constexpr FloatFormat kFormatTF32 = {8, 10, 0x3ffff, 0x3fbff, 13};
inline constexpr FloatFormat kFormatF32 = {8, 23, 0x7fffffff, 0x7f7fffff};
inline constexpr FloatFormat kFormatF64 = {11, 52, 0x7ff8000000000000, 0x7fefffffffffffff};
inline constexpr FloatFormat kFormatE4M3 = {4, 3, 0x7f, 0x7e};  // has no infinities
inline constexpr FloatFormat kFormatE5M2 = {5, 2, 0x7f, 0x7b};

enum class RoundTo : uint8_t { kNearest, kZero, kDown, kUp, kNearestAway };

// The bits of the value in the format. finite: what is too large becomes the largest number.
uint64_t RoundToFormat(const Number& number, const FloatFormat& format, RoundTo mode, bool finite);

}  // namespace softgpu
