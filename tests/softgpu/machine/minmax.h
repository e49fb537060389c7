// min and max of floats by the manual: a NaN gives way to a number unless .NaN is there, -0 is
// below +0, .xorsign.abs compares magnitudes and multiplies signs.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

namespace softgpu {

template <bool kMax, bool kNan, bool kXorSign, class T>
T MinMax(T a, T b) {
  using Bits = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
  constexpr Bits kSign = Bits{1} << (8 * sizeof(T) - 1);
  const Bits signs = (std::bit_cast<Bits>(a) ^ std::bit_cast<Bits>(b)) & kSign;
  if constexpr (kXorSign) {
    a = std::fabs(a);
    b = std::fabs(b);
  }
  // Equal values differ at most in the sign of a zero.
  const Bits x = std::bit_cast<Bits>(a), y = std::bit_cast<Bits>(b);
  const T tie = std::bit_cast<T>(kMax ? x & y : x | y);
  const T outer = kMax ? (a < b ? b : a) : (b < a ? b : a);
  T picked = a == b ? tie : outer;
  const T nan = std::numeric_limits<T>::quiet_NaN();
  picked = b == b ? picked : kNan ? nan : a;
  picked = a == a ? picked : kNan ? nan : b;
  if constexpr (kXorSign) {
    picked = std::bit_cast<T>((std::bit_cast<Bits>(picked) & ~kSign) | signs);
  }
  return picked;
}

}  // namespace softgpu
