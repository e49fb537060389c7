// 2^x, log2, sin, cos and tanh in double precision, good to about 1e-13: after rounding to f32 the
// .approx instructions are as good as exact, far inside the bounds that the manual gives. No
// branches and no tables, so that loops over lanes vectorise (the C library's functions do not).
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace softgpu {

// The sum of c[k] x^k.
template <int kCount>
double Polynomial(double x, const double (&c)[kCount]) {
  double sum = c[kCount - 1];
  for (int k = kCount - 2; k >= 0; --k) sum = sum * x + c[k];
  return sum;
}

// Of float range: results beyond 2^+-300 saturate there.
inline double Exp2(double x) {
  const double clamped = x < -300 ? -300 : x > 300 ? 300 : x;
  const double whole = std::rint(clamped);
  const double y = (clamped - whole) * 0.693147180559945309417;
  static constexpr double kTaylor[] = {1.0,         1.0,          1.0 / 2,      1.0 / 6,
                                       1.0 / 24,    1.0 / 120,    1.0 / 720,    1.0 / 5040,
                                       1.0 / 40320, 1.0 / 362880, 1.0 / 3628800};
  // The exponent field, by way of the lowest bits of a number near 2^52.
  const uint64_t scale = std::bit_cast<uint64_t>(whole + (0x1.8p52 + 1023)) << 52;
  return Polynomial(y, kTaylor) * std::bit_cast<double>(scale);
}

// x: a float's value. log2 of 0 is -inf, of a negative number NaN.
inline double Log2(double x) {
  constexpr uint64_t kRootHalf = 0x3fe6a09e667f3bcdu;  // sqrt(1/2)
  const uint64_t bits = std::bit_cast<uint64_t>(x);
  const uint64_t above = bits - kRootHalf;
  // x = m * 2^e with m from sqrt(1/2) to sqrt(2): e is above's upper part, of either sign.
  const uint64_t exponent = (above + (uint64_t{1} << 62)) >> 52;
  const double e = std::bit_cast<double>(exponent | 0x4330000000000000u) - (0x1p52 + 1024);
  const double m = std::bit_cast<double>((above & 0x000fffffffffffffu) + kRootHalf);
  const double s = (m - 1) / (m + 1);
  static constexpr double kSeries[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7, 1.0 / 9,
                                       1.0 / 11, 1.0 / 13, 1.0 / 15, 1.0 / 17};
  const double log = e + 2.88539008177792681472 * s * Polynomial(s * s, kSeries);
  const double infinity = std::numeric_limits<double>::infinity();
  const double positive = x == infinity ? infinity : log;
  return x > 0 ? positive : x == 0 ? -infinity : std::numeric_limits<double>::quiet_NaN();
}

// sin(x + quarter * pi/2) for |x| <= kSineRange: beyond it pi/2 in three parts is too coarse.
inline constexpr double kSineRange = 0x1p22;
inline double SineOfQuarter(double x, double quarter) {
  const double q = std::rint(x * 0.636619772367581343076);
  double r = x - q * 0x1.921fb544p0;
  r -= q * 0x1.0b4611a6p-34;
  r -= q * 0x1.3198a2e037073p-69;
  static constexpr double kSine[] = {
      1.0,          -1.0 / 6,        1.0 / 120,        -1.0 / 5040,
      1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000};
  static constexpr double kCosine[] = {
      1.0,         -1.0 / 2,       1.0 / 24,        -1.0 / 720,
      1.0 / 40320, -1.0 / 3628800, 1.0 / 479001600, -1.0 / 87178291200};
  const double square = r * r;
  const double sine = r * Polynomial(square, kSine);
  const double cosine = Polynomial(square, kCosine);
  const uint64_t turn = std::bit_cast<uint64_t>(q + quarter + 0x1.8p52);
  const double chosen = turn & 1 ? cosine : sine;
  return turn & 2 ? -chosen : chosen;
}

inline double Tanh(double x) {
  const double a = std::fabs(x);
  const double t = Exp2(a * -2.88539008177792681472);
  static constexpr double kSeries[] = {1.0, -1.0 / 3, 2.0 / 15, -17.0 / 315, 62.0 / 2835};
  const double magnitude = a < 0x1p-4 ? a * Polynomial(a * a, kSeries) : (1 - t) / (1 + t);
  return std::copysign(magnitude, x);
}

}  // namespace softgpu
