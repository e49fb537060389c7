// Floats of every format by exact arithmetic, one function for all: decode, special values by f64
// (which has them), everything else exactly and rounded once. From chapters 9.7.3 and 9.7.4 of the
// PTX manual.
#include <functional>

#include "tests/softgpu/tests/arithmetic_rows.h"
#include "tests/softgpu/tests/exact.h"

namespace softgpu::testing {
namespace {

struct Rules {
  Format format;
  Mode mode = "rn";
  bool ftz = false, sat = false, relu = false, nan = false, xor_sign = false;
};

uint64_t Flushed(const Rules& r, uint64_t bits) {
  const bool subnormal = (bits & r.format.infinity()) == 0;
  return r.ftz && subnormal ? bits & r.format.sign() : bits;
}

// f16, bf16 and f32 have one NaN; so says every GPU, if not the manual.
uint64_t NanOf(const Format& f) { return f.bits() == 64 ? 0x7ff8000000000000u : f.sign() - 1; }
uint64_t Special(const Format& f, double value) {  // NaN, infinity or zero
  if (std::isnan(value)) return NanOf(f);
  return (std::signbit(value) ? f.sign() : 0) | (value == 0 ? 0 : f.infinity());
}

uint64_t SumOf(const Rules& r, const Exact& x, const Exact& y) {
  const Exact sum = x + y;
  if (!sum.zero()) return sum.Round(r.format, r.mode);
  // Zeros of one sign keep it; others give -0 only when rounding down.
  const bool negative = x.negative() == y.negative() && x.zero() ? x.negative() : r.mode == "rm";
  return negative ? r.format.sign() : 0;
}

uint64_t MinMaxOf(const Rules& r, bool max, uint64_t a_bits, uint64_t b_bits) {
  double a = ValueOf(r.format, a_bits), b = ValueOf(r.format, b_bits);
  const uint64_t sign = (a_bits ^ b_bits) & r.format.sign();
  if (r.xor_sign) {
    a_bits &= ~r.format.sign();
    b_bits &= ~r.format.sign();
    a = std::fabs(a);
    b = std::fabs(b);
  }
  uint64_t d = 0;
  if (std::isnan(a) && std::isnan(b)) return NanOf(r.format);
  if (r.nan && (std::isnan(a) || std::isnan(b))) return NanOf(r.format);
  if (std::isnan(a)) {
    d = b_bits;
  } else if (std::isnan(b)) {
    d = a_bits;
  } else if (a == b) {  // +0 is above -0
    d = (std::signbit(a) != max) ? a_bits : b_bits;
  } else {
    d = (a < b) != max ? a_bits : b_bits;
  }
  if (r.xor_sign) d = (d & ~r.format.sign()) | sign;
  return d;
}

uint64_t Arithmetic(const std::string& op, const Rules& r, const std::vector<uint64_t>& in) {
  const double x = ValueOf(r.format, in[0]);
  const double y = in.size() > 1 ? ValueOf(r.format, in[1]) : 0;
  const double z = in.size() > 2 ? ValueOf(r.format, in[2]) : 0;
  const bool finite = std::isfinite(x) && std::isfinite(y) && std::isfinite(z);
  if (op == "min" || op == "max") return MinMaxOf(r, op == "max", in[0], in[1]);
  if (op == "abs") return std::isnan(x) ? NanOf(r.format) : in[0] & ~r.format.sign();
  if (op == "neg") return std::isnan(x) ? NanOf(r.format) : in[0] ^ r.format.sign();
  if (op == "add" || op == "sub") {
    const double other = op == "add" ? y : -y;
    if (!finite) return Special(r.format, x + other);
    return SumOf(r, Exact::Of(x), Exact::Of(other));
  }
  if (op == "mul") {
    if (!finite) return Special(r.format, x * y);
    return Exact::Product(x, y).Round(r.format, r.mode);
  }
  if (op == "fma" || op == "mad") {
    // A finite product may be too large for f64, so that it must not meet an infinity.
    if (!finite) return Special(r.format, std::isfinite(x) && std::isfinite(y) ? z : x * y + z);
    return SumOf(r, Exact::Product(x, y), Exact::Of(z));
  }
  if (op == "div") {
    if (!finite || x == 0 || y == 0) return Special(r.format, x / y);
    return Exact::Quotient(x, y).Round(r.format, r.mode);
  }
  if (op == "rcp") {
    if (!finite || x == 0) return Special(r.format, 1 / x);
    return Exact::Quotient(1, x).Round(r.format, r.mode);
  }
  if (!std::isfinite(x) || x <= 0) return Special(r.format, std::sqrt(x));
  return Exact::Root(x).Round(r.format, r.mode);
}

long double Function(const std::string& op, long double x) {
  if (op == "rsqrt") return 1 / std::sqrt(x);
  if (op == "sin") return std::sin(x);
  if (op == "cos") return std::cos(x);
  if (op == "lg2") return std::log2(x);
  if (op == "ex2") return std::exp2(x);
  return std::tanh(x);
}
uint64_t Approximation(const std::string& op, const Rules& r, uint64_t bits) {
  const long double y = Function(op, ValueOf(r.format, bits));
  if (y > 0x1p1000L) return Special(r.format, HUGE_VAL);
  if (!std::isfinite(y) || y == 0) return Special(r.format, static_cast<double>(y));
  return Exact::Of(y).Round(r.format, "rn");
}

bool IsFunction(const std::string& op) {
  return op == "rsqrt" || op == "sin" || op == "cos" || op == "lg2" || op == "ex2" || op == "tanh";
}

uint64_t Scalar(const Form& form, const Rules& r, std::vector<uint64_t> in) {
  for (uint64_t& bits : in) bits = Flushed(r, bits);
  const std::string& op = form.words[0];
  uint64_t d = IsFunction(op) ? Approximation(op, r, in[0]) : Arithmetic(op, r, in);
  if (op == "div" && form.Has("approx")) {
    const double x = ValueOf(r.format, in[0]), y = ValueOf(r.format, in[1]);
    if (std::fabs(y) > 0x1p126 && std::isfinite(y)) {
      d = std::isfinite(x) ? ((in[0] ^ in[1]) & r.format.sign()) : NanOf(r.format);
    }
  }
  const double value = ValueOf(r.format, d);
  if (r.sat && !(value > 0)) return 0;
  if (r.sat && value > 1) return static_cast<uint64_t>(r.format.bias()) << r.format.mantissa_bits;
  if (r.relu && value <= 0) return 0;
  return Flushed(r, d);
}

// rcp and rsqrt .approx.ftz.f64: the upper word only, to about 2^-20.
Expected Gross(const Form& form, uint64_t bits) {
  const Format f = FormatNamed("f64");
  const Rules flush = {.format = f, .ftz = true};
  const double x = ValueOf(f, Flushed(flush, bits) & 0xffffffff00000000u);
  const double y = form.words[0] == "rcp" ? 1 / x : 1 / std::sqrt(x);
  Expected expected;
  expected.bits = Flushed(flush, std::bit_cast<uint64_t>(y));
  expected.any_nan = std::isnan(y);
  expected.relative = 0x1p-20;
  return expected;
}

}  // namespace

bool FloatOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out) {
  if (form.types_.empty()) return false;
  const std::string& type = form.types_.back();
  const bool pair = type == "f16x2" || type == "bf16x2";
  if (type != "f16" && type != "bf16" && type != "f32" && type != "f64" && !pair) return false;
  Rules r = {.format = FormatNamed(type)};
  for (const char* mode : {"rz", "rm", "rp"}) {
    if (form.Has(mode)) r.mode = mode;
  }
  r.ftz = form.Has("ftz");
  r.sat = form.Has("sat");
  r.relu = form.Has("relu");
  r.nan = form.Has("NaN");
  r.xor_sign = form.Has("xorsign");
  if (type == "f64" && r.ftz) {
    out.push_back(Gross(form, static_cast<uint64_t>(in[0])));
    return true;
  }
  Expected expected;
  for (int half = 0; half < (pair ? 2 : 1); ++half) {
    std::vector<uint64_t> scalars;
    for (const Word& word : in) {
      const uint64_t bits = static_cast<uint64_t>(word) >> (16 * half);
      scalars.push_back(pair ? bits & 0xffff : bits);
    }
    expected.bits |= Word{Scalar(form, r, scalars)} << (16 * half);
  }
  expected.any_nan =
      type == "f64" && std::isnan(ValueOf(r.format, static_cast<uint64_t>(expected.bits)));
  // Made in f64 and rounded: almost always the nearest, never more than its neighbour. A quotient
  // and a root are the nearest.
  if (IsFunction(form.words[0])) expected.ulps = 1;
  out.push_back(expected);
  return true;
}

}  // namespace softgpu::testing
