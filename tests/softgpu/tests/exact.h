// Exact numbers for oracles: fixed-point integers wide enough for a product of two f64, rounded to
// any float format bit by bit. Slow and plain; shares nothing with the machine.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <string>

namespace softgpu::testing {

struct Format {
  int exponent_bits, mantissa_bits;
  int bias() const { return (1 << (exponent_bits - 1)) - 1; }
  int bits() const { return 1 + exponent_bits + mantissa_bits; }
  uint64_t infinity() const { return ((uint64_t{1} << exponent_bits) - 1) << mantissa_bits; }
  uint64_t sign() const { return uint64_t{1} << (bits() - 1); }
};
// "f16", "bf16", "tf32" (without its padding), "f32", "f64".
inline Format FormatNamed(const std::string& type) {
  if (type == "f16" || type == "f16x2") return {5, 10};
  if (type == "bf16" || type == "bf16x2") return {8, 7};
  if (type == "tf32") return {8, 10};
  if (type == "f32") return {8, 23};
  return {11, 52};
}

// Every format's values are f64s.
inline double ValueOf(const Format& f, uint64_t bits) {
  const uint64_t size = bits & (f.sign() - 1);
  const double sign = bits & f.sign() ? -1.0 : 1.0;
  const int e = static_cast<int>(size >> f.mantissa_bits);
  const double m = static_cast<double>(size & ((uint64_t{1} << f.mantissa_bits) - 1));
  if (size > f.infinity()) return NAN;
  if (size == f.infinity()) return sign * HUGE_VAL;
  const double one = std::ldexp(1.0, f.mantissa_bits);
  return sign * (e ? std::ldexp(m + one, e - f.bias() - f.mantissa_bits)
                   : std::ldexp(m, 1 - f.bias() - f.mantissa_bits));
}

// "rn", "rz", "rm", "rp", "rna".
using Mode = std::string;

class Exact {
 public:
  using U128 = unsigned __int128;
  Exact() { limbs_.fill(0); }
  // magnitude * 2^exponent; sticky: and a little more, below its last bit.
  Exact(bool negative, U128 magnitude, int exponent, bool sticky = false)
      : negative_(negative), sticky_(sticky) {
    limbs_.fill(0);
    for (int b = 0; b < 128; ++b) {
      if ((magnitude >> b) & 1) SetBit(b + exponent + kPoint);
    }
  }
  static Exact Of(double x) {
    int e = 0;
    const double m = std::frexp(std::fabs(x), &e);
    return Exact(std::signbit(x), static_cast<U128>(std::ldexp(m, 53)), e - 53);
  }
  static Exact Of(long double x) {
    int e = 0;
    const long double m = std::frexp(std::fabs(x), &e);
    return Exact(std::signbit(x), static_cast<uint64_t>(std::ldexp(m, 64)), e - 64);
  }
  static Exact Product(double x, double y) {
    int e = 0, g = 0;
    const double m = std::frexp(std::fabs(x), &e), n = std::frexp(std::fabs(y), &g);
    const U128 product =
        static_cast<U128>(std::ldexp(m, 53)) * static_cast<U128>(std::ldexp(n, 53));
    return Exact(std::signbit(x) != std::signbit(y), product, e + g - 106);
  }
  static Exact Quotient(double x, double y) {  // y is not 0
    int e = 0, g = 0;
    const double m = std::frexp(std::fabs(x), &e), n = std::frexp(std::fabs(y), &g);
    const U128 dividend = static_cast<U128>(std::ldexp(m, 53)) << 72;
    const U128 divisor = static_cast<U128>(std::ldexp(n, 53));
    return Exact(std::signbit(x) != std::signbit(y), dividend / divisor, e - g - 72,
                 dividend % divisor != 0);
  }
  static Exact Root(double x) {  // of a number above 0
    int e = 0;
    double m = std::frexp(x, &e);
    if (e % 2 != 0) {
      m *= 2;
      --e;
    }
    const U128 square = static_cast<U128>(std::ldexp(m, 53)) << 70;  // x = square * 2^(e - 123)
    U128 root = 0;
    for (int b = 63; b >= 0; --b) {
      const U128 tried = root | U128{1} << b;
      if (tried * tried <= square << 1) root = tried;
    }
    return Exact(false, root, e / 2 - 62, root * root != square << 1);
  }
  bool zero() const {
    for (const uint32_t limb : limbs_) {
      if (limb) return false;
    }
    return !sticky_;
  }
  bool negative() const { return negative_; }

  friend Exact operator+(const Exact& a, const Exact& b) {  // of numbers without sticky bits
    if (a.negative_ == b.negative_) {
      Exact sum = a;
      uint64_t carry = 0;
      for (int k = 0; k < kLimbs; ++k) {
        carry += uint64_t{a.limbs_[k]} + b.limbs_[k];
        sum.limbs_[k] = static_cast<uint32_t>(carry);
        carry >>= 32;
      }
      return sum;
    }
    const bool a_larger = !a.Below(b);
    const Exact& large = a_larger ? a : b;
    const Exact& small = a_larger ? b : a;
    Exact difference = large;
    int64_t borrow = 0;
    for (int k = 0; k < kLimbs; ++k) {
      int64_t v = int64_t{large.limbs_[k]} - small.limbs_[k] - borrow;
      borrow = v < 0;
      difference.limbs_[k] = static_cast<uint32_t>(v + (borrow << 32));
    }
    return difference;
  }

  // The bits of the nearest number of the format, as the mode says. Zero has negative()'s sign.
  uint64_t Round(const Format& f, const Mode& mode) const {
    const uint64_t sign = negative_ ? f.sign() : 0;
    int top = kLimbs * 32 - 1;
    while (top >= 0 && !Bit(top)) --top;
    const int smallest = 1 - f.bias() + kPoint;  // bit of the smallest normal number
    const int last = std::max(top, smallest) - f.mantissa_bits;
    uint64_t kept = 0;
    for (int b = top; b >= last; --b) kept = kept << 1 | (Bit(b) ? 1 : 0);
    bool below_half = sticky_;
    for (int b = last - 2; b >= 0 && !below_half; --b) below_half = Bit(b);
    const bool half = Bit(last - 1);
    bool up = false;
    if (mode == "rn") up = half && (below_half || (kept & 1));
    if (mode == "rna") up = half;
    if (mode == "rp") up = !negative_ && (half || below_half);
    if (mode == "rm") up = negative_ && (half || below_half);
    if (up) ++kept;
    const uint64_t exponent = top < smallest ? 0 : static_cast<uint64_t>(top - smallest);
    const uint64_t bits = (exponent << f.mantissa_bits) + kept;
    if (top >= smallest && (top - smallest > 2 * f.bias() || bits >= f.infinity())) {
      const bool toward_zero = mode == "rz" || mode == (negative_ ? "rp" : "rm");
      return sign | (toward_zero ? f.infinity() - 1 : f.infinity());
    }
    return sign | bits;
  }

 private:
  static constexpr int kLimbs = 140;
  static constexpr int kPoint = 2200;  // bit of 2^0
  void SetBit(int b) {
    if (b >= 0 && b < kLimbs * 32) limbs_[b / 32] |= 1u << (b % 32);
  }
  bool Bit(int b) const {
    return b >= 0 && b < kLimbs * 32 && ((limbs_[b / 32] >> (b % 32)) & 1) != 0;
  }
  bool Below(const Exact& other) const {
    for (int k = kLimbs - 1; k >= 0; --k) {
      if (limbs_[k] != other.limbs_[k]) return limbs_[k] < other.limbs_[k];
    }
    return false;
  }

  std::array<uint32_t, kLimbs> limbs_;
  bool negative_ = false;
  bool sticky_ = false;
};

}  // namespace softgpu::testing
