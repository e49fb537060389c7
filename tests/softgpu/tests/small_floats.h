// f16 and bf16 by their definition, as an oracle: a value is looked up by searching all 65536
// patterns for the nearest, so that nothing is shared with the conversions under test.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace softgpu::testing {

class SmallFloat {
 public:
  static const SmallFloat& F16() {
    static const SmallFloat f(5, 10);
    return f;
  }
  static const SmallFloat& BF16() {
    static const SmallFloat f(8, 7);
    return f;
  }

  double Value(uint16_t bits) const { return values_[bits]; }
  // Nearest, ties to even; overflow to infinity; NaN is 0x7fff.
  uint16_t Nearest(double x) const {
    if (std::isnan(x)) return 0x7fff;
    const uint16_t sign = std::signbit(x) ? 0x8000 : 0;
    const double magnitude = std::fabs(x);
    // Patterns of positive values ascend. Infinity stands for the next power of two.
    const uint16_t infinity = static_cast<uint16_t>(((1 << exponent_) - 1) << mantissa_);
    if (std::isinf(x)) return sign | infinity;
    uint16_t low = 0, high = infinity;
    while (high - low > 1) {
      const uint16_t middle = static_cast<uint16_t>((low + high) / 2);
      (Finite(middle) <= magnitude ? low : high) = middle;
    }
    const double below = magnitude - Finite(low), above = Finite(high) - magnitude;
    const bool up = above < below || (above == below && low % 2 == 1);
    return sign | (up ? high : low);
  }

 private:
  SmallFloat(int exponent, int mantissa) : exponent_(exponent), mantissa_(mantissa) {
    const int top = (1 << exponent) - 1;
    for (uint32_t bits = 0; bits < 65536; ++bits) {
      const uint16_t magnitude = bits & 0x7fff;
      const int e = magnitude >> mantissa, m = magnitude & ((1 << mantissa) - 1);
      double v = Finite(magnitude);
      if (e == top) v = m ? std::numeric_limits<double>::quiet_NaN() : HUGE_VAL;
      values_.push_back(bits & 0x8000 ? -v : v);
    }
  }
  double Finite(uint16_t magnitude) const {
    const int bias = (1 << (exponent_ - 1)) - 1;
    const int e = magnitude >> mantissa_, m = magnitude & ((1 << mantissa_) - 1);
    return e ? std::ldexp(1.0 + std::ldexp(m, -mantissa_), e - bias)
             : std::ldexp(m, 1 - bias - mantissa_);
  }

  int exponent_, mantissa_;
  std::vector<double> values_;
};

}  // namespace softgpu::testing
