// min and max of floats by the manual: a NaN gives way to a number unless .NaN is there, -0 is
// below +0, .xorsign.abs compares magnitudes and multiplies signs.
#pragma once

#include <cmath>
#include <limits>
#include <type_traits>

namespace softgpu {

template <bool kMax, bool kNan, bool kXorSign, class T>
T MinMax(T a, T b) {
  const bool negative = std::signbit(a) != std::signbit(b);
  if constexpr (kXorSign) {
    a = std::fabs(a);
    b = std::fabs(b);
  }
  T picked = kMax ? (a < b ? b : a) : (b < a ? b : a);
  // Equal values differ at most in the sign of a zero.
  const T zero_sign = kMax ? (std::signbit(a) ? b : a) : (std::signbit(a) ? a : b);
  picked = a == b ? zero_sign : picked;
  if constexpr (kXorSign) picked = std::copysign(picked, negative ? T{-1} : T{1});
  const T nan = std::numeric_limits<T>::quiet_NaN();
  const T if_a = kNan ? nan : kXorSign ? std::copysign(b, negative ? T{-1} : T{1}) : b;
  const T if_b = kNan ? nan : kXorSign ? std::copysign(a, negative ? T{-1} : T{1}) : a;
  return a != a ? if_a : b != b ? if_b : picked;
}

}  // namespace softgpu
