// exp, log1p and sigmoid on the range the losses need, free of branches and calls, so that loops
// over them are vectorised (the C library's functions are not).
//
// Series rather than fitted polynomials: a few more terms, and every coefficient explains itself.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#include "kernels/cpu/loops.h"

namespace lseg {

// exp(-|z|), in [0, 1], to 1 ulp; a NaN stays one.
LSEG_INLINE float ExpOfMinusAbs(float z) {
  constexpr float kLog2E = 1.44269504f;
  constexpr float kLn2High = 0.693359375f;  // few bits: its product with an integer is exact
  constexpr float kLn2Low = -2.12194440e-4f;
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer
  float x = -std::fabs(z);
  x = x < -104.0f ? -104.0f : x;  // below half the smallest float: 0
  const float shifted = x * kLog2E + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * kLn2High) - n * kLn2Low;  // |r| <= ln 2 / 2
  float tail = 1.0f / 5040;
  tail = tail * r + 1.0f / 720;
  tail = tail * r + 1.0f / 120;
  tail = tail * r + 1.0f / 24;
  tail = tail * r + 1.0f / 6;
  tail = tail * r + 0.5f;
  const float e = 1.0f + (r + r * r * tail);
  // 2^n in two factors, so that results below the smallest normal number are rounded once.
  const int32_t power = std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound);
  const int32_t half = power >> 1;
  const float factor1 = std::bit_cast<float>(static_cast<uint32_t>(half + 127) << 23);
  const float factor2 = std::bit_cast<float>(static_cast<uint32_t>(power - half + 127) << 23);
  return e * factor1 * factor2;
}

// log(1 + e) for e in [0, 1] to 2 ulp, as 2 artanh(e / (2 + e)).
LSEG_INLINE float Log1pOfUnit(float e) {
  const float s = e / (2.0f + e);  // <= 1/3
  const float q = s * s;
  float tail = 1.0f / 15;
  tail = tail * q + 1.0f / 13;
  tail = tail * q + 1.0f / 11;
  tail = tail * q + 1.0f / 9;
  tail = tail * q + 1.0f / 7;
  tail = tail * q + 1.0f / 5;
  tail = tail * q + 1.0f / 3;
  return 2.0f * (s + s * q * tail);
}

// log(1 + exp(z)) without overflow.
LSEG_INLINE float Softplus(float z) { return (z > 0 ? z : 0.0f) + Log1pOfUnit(ExpOfMinusAbs(z)); }

// 1 / (1 + exp(-z)) to 2 ulp, also where it is tiny.
LSEG_INLINE float Sigmoid(float z) {
  const float e = ExpOfMinusAbs(z);
  return (z < 0 ? e : 1.0f) / (1.0f + e);
}

}  // namespace lseg
