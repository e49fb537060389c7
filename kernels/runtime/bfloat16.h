// bfloat16 as loops see it: an f32's upper half. They load it as float, compute in f32, and round
// where they store. Both conversions vectorise.
#pragma once

#include <bit>
#include <cstdint>

namespace lseg {

enum class BFloat16 : uint16_t {};

__attribute__((always_inline)) inline float ToFloat(BFloat16 value) {
  return std::bit_cast<float>(static_cast<uint32_t>(value) << 16);
}
__attribute__((always_inline)) inline float ToFloat(float value) { return value; }

// Rounds to nearest, ties to even; a NaN stays a (quiet) NaN.
template <class T>
T FromFloat(float value);
template <>
__attribute__((always_inline)) inline BFloat16 FromFloat<BFloat16>(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  const uint32_t quiet = (bits >> 16) | 0x40;
  return static_cast<BFloat16>(value != value ? quiet : rounded);
}
template <>
__attribute__((always_inline)) inline float FromFloat<float>(float value) {
  return value;
}

}  // namespace lseg
