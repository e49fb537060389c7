// f16 and bf16 as arrays of 16-bit words, widened to f32 for arithmetic and narrowed once. An f32
// that stands for a value with more digits is rounded to odd (its last bit says "and something
// below"), so that narrowing it rounds as the exact value would.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

#ifdef __F16C__
#include <immintrin.h>
#endif

namespace softgpu {

// s stands for the exact s + e: away from or toward 0 by one place, if its last bit is even.
template <class T, class Bits>
T ToOdd(T s, T e) {
  const Bits bits = std::bit_cast<Bits>(s);
  const Bits away = std::bit_cast<Bits>(bits + 1), toward = std::bit_cast<Bits>(bits - 1);
  const Bits odd = (e > 0) == (s > 0) ? away : toward;
  const bool inexact = (e > 0 || e < 0) && (bits & 1) == 0;
  return std::bit_cast<T>(inexact ? odd : bits);
}
// a + b, rounded to odd. Magnitudes stay below the type's overflow.
template <class T, class Bits>
T SumToOdd(T a, T b) {
  const T s = a + b;
  const T part = s - a;
  return ToOdd<T, Bits>(s, (a - (s - part)) + (b - part));
}
inline float NarrowToOdd(double x) {
  const float f = static_cast<float>(x);
  const double rest = x - static_cast<double>(f);
  const uint32_t bits = std::bit_cast<uint32_t>(f);
  const uint32_t odd = (rest > 0) == (x > 0) ? bits + 1 : bits - 1;
  const bool inexact = (rest > 0 || rest < 0) && (bits & 1) == 0;
  return std::bit_cast<float>(inexact ? odd : bits);
}

struct F16 {
  static constexpr uint16_t kExponent = 0x7c00, kNan = 0x7fff, kOne = 0x3c00;
  template <int n>
  static void Load(const uint16_t* src, float* dst) {
#ifdef __F16C__
    for (int k = 0; k < n; k += 8) {
      const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(src + k));
      _mm256_storeu_ps(dst + k, _mm256_cvtph_ps(v));
    }
#else
    for (int k = 0; k < n; ++k) dst[k] = static_cast<float>(std::bit_cast<_Float16>(src[k]));
#endif
  }
  template <int n>
  static void Store(const float* src, uint16_t* dst) {
#ifdef __F16C__
    for (int k = 0; k < n; k += 8) {
      const __m128i v = _mm256_cvtps_ph(_mm256_loadu_ps(src + k), _MM_FROUND_TO_NEAREST_INT);
      _mm_storeu_si128(reinterpret_cast<__m128i*>(dst + k), v);
    }
#else
    for (int k = 0; k < n; ++k) dst[k] = std::bit_cast<uint16_t>(static_cast<_Float16>(src[k]));
#endif
    for (int k = 0; k < n; ++k) dst[k] = (dst[k] & 0x7fff) > kExponent ? kNan : dst[k];
  }
  static float Add(float a, float b) { return a + b; }  // 24 bits: two roundings are as one
  static float Mul(float a, float b) { return a * b; }  // exact
  static float Fma(float a, float b, float c) { return SumToOdd<float, uint32_t>(a * b, c); }
};

struct BF16 {
  static constexpr uint16_t kExponent = 0x7f80, kNan = 0x7fff, kOne = 0x3f80;
  template <int n>
  static void Load(const uint16_t* src, float* dst) {
    for (int k = 0; k < n; ++k) dst[k] = std::bit_cast<float>(static_cast<uint32_t>(src[k]) << 16);
  }
  template <int n>
  static void Store(const float* src, uint16_t* dst) {
    for (int k = 0; k < n; ++k) {
      const uint32_t bits = std::bit_cast<uint32_t>(src[k]);
      const uint32_t rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
      dst[k] = static_cast<uint16_t>(src[k] == src[k] ? rounded : kNan);
    }
  }
  static float Add(float a, float b) { return a + b; }
  // A product of two may leave f32's range.
  static float Mul(float a, float b) { return NarrowToOdd(static_cast<double>(a) * b); }
  static float Fma(float a, float b, float c) {
    return NarrowToOdd(
        SumToOdd<double, uint64_t>(static_cast<double>(a) * b, static_cast<double>(c)));
  }
};

// bf16 where the product of the first two sources is far from f32's limits: everything in f32.
struct BF16InRange : BF16 {
  static float Mul(float a, float b) { return a * b; }  // exact
  static float Fma(float a, float b, float c) { return SumToOdd<float, uint32_t>(a * b, c); }
  template <int n>
  static bool Holds(const float* a, const float* b) {
    int out = 0;
    for (int k = 0; k < n; ++k) {
      const float product = std::fabs(a[k] * b[k]);
      const bool fits = product < 0x1p126f && (product > 0x1p-100f || a[k] == 0 || b[k] == 0);
      out |= fits ? 0 : 1;
    }
    return out == 0;
  }
};

// Subnormals become zeros of their sign.
template <class Format>
uint16_t FlushHalf(uint16_t h) {
  return h & Format::kExponent ? h : h & 0x8000;
}

}  // namespace softgpu
