// cvt by exact numbers: a source is a 128-bit integer or a float's exact value, a result the
// nearest value of the wanted type.
#include <algorithm>

#include "tests/softgpu/tests/arithmetic_rows.h"
#include "tests/softgpu/tests/exact.h"

namespace softgpu::testing {
namespace {

using I = __int128;

bool IsInteger(const std::string& type) { return type[0] == 'u' || type[0] == 's'; }
int Bits(const std::string& type) { return std::stoi(type.substr(1)); }

I IntegerOf(const std::string& type, Word v) {
  const int bits = Bits(type);
  const Word masked = v & ((Word{1} << bits) - 1);
  const bool negative = type[0] == 's' && ((masked >> (bits - 1)) & 1);
  return static_cast<I>(masked) - (negative ? I{1} << bits : I{0});
}
I Low(const std::string& type) { return type[0] == 's' ? -(I{1} << (Bits(type) - 1)) : I{0}; }
I High(const std::string& type) { return (I{1} << (Bits(type) - (type[0] == 's' ? 1 : 0))) - 1; }

long double Rounded(const Form& form, long double v) {
  if (form.Has("rni")) return std::nearbyint(v);
  if (form.Has("rzi")) return std::trunc(v);
  if (form.Has("rmi")) return std::floor(v);
  if (form.Has("rpi")) return std::ceil(v);
  return v;
}
Mode ModeOf(const Form& form) {
  for (const char* mode : {"rz", "rm", "rp", "rna"}) {
    if (form.Has(mode)) return mode;
  }
  return "rn";
}

uint64_t Flushed(const Form& form, const std::string& type, uint64_t bits) {
  const bool flush = form.Has("ftz") && type == "f32" && (bits & 0x7f800000u) == 0;
  return flush ? bits & 0x80000000u : bits;
}

// A float to an integer: clamped; no number is 0, or the sign's bit alone.
I ToInteger(const Form& form, const std::string& to, const std::string& from, uint64_t bits) {
  const long double v = Rounded(form, ValueOf(FormatNamed(from), Flushed(form, from, bits)));
  if (std::isnan(v)) return from == "f64" || Bits(to) == 64 ? I{1} << (Bits(to) - 1) : I{0};
  if (v <= static_cast<long double>(Low(to))) return Low(to);
  if (v >= static_cast<long double>(High(to))) return High(to);
  return static_cast<I>(v);
}

uint64_t NanOf(const Format& f) { return f.bits() == 64 ? 0x7ff8000000000000u : f.sign() - 1; }

// A float or an integer to a float format.
uint64_t ToFloat(const Form& form, const Format& to, const std::string& from, Word word) {
  const auto one = static_cast<uint64_t>(to.bias()) << to.mantissa_bits;
  uint64_t d = 0;
  if (IsInteger(from)) {
    const I v = IntegerOf(from, word);
    d = v == 0 ? 0 : Exact(v < 0, static_cast<Word>(v < 0 ? -v : v), 0).Round(to, ModeOf(form));
  } else {
    const Format f = FormatNamed(from);
    const double v = static_cast<double>(
        Rounded(form, ValueOf(f, Flushed(form, from, static_cast<uint64_t>(word)))));
    const uint64_t sign = std::signbit(v) ? to.sign() : 0;
    d = std::isnan(v)   ? NanOf(to)
        : std::isinf(v) ? sign | to.infinity()
        : v == 0        ? sign
                        : Exact::Of(v).Round(to, ModeOf(form));
    if (form.Has("satfinite") && (d & ~to.sign()) == to.infinity()) {
      d = sign | (to.infinity() - 1);
    }
  }
  const double value = ValueOf(to, d);
  if (form.Has("sat")) d = !(value > 0) ? 0 : value > 1 ? one : d;
  if (form.Has("relu") && value <= 0) d = 0;
  return to.bits() == 32 ? Flushed(form, "f32", d) : d;
}

// 8-bit floats by search among all their values: the nearest, of two the even one; too large ones
// are the largest.
double ByteValue(bool e4m3, uint32_t byte) {
  const int e = e4m3 ? (byte >> 3) & 15 : (byte >> 2) & 31;
  const int m = static_cast<int>(e4m3 ? byte & 7 : byte & 3), digits = e4m3 ? 3 : 2,
            bias = e4m3 ? 7 : 15;
  const double size =
      e ? std::ldexp(m + (1 << digits), e - bias - digits) : std::ldexp(m, 1 - bias - digits);
  if (e4m3 ? (byte & 0x7f) == 0x7f : e == 31 && m != 0) return NAN;
  if (!e4m3 && e == 31) return byte & 0x80 ? -HUGE_VAL : HUGE_VAL;
  return byte & 0x80 ? -size : size;
}
uint32_t ToByte(const Form& form, bool e4m3, double v) {
  if (std::isnan(v)) return 0x7f;
  if (form.Has("relu") && v <= 0) return 0;
  const uint32_t largest = e4m3 ? 0x7e : 0x7b;
  uint32_t best = 0;
  for (uint32_t k = 0; k <= largest; ++k) {
    const double distance = std::fabs(std::fabs(v) - ByteValue(e4m3, k));
    const double least = std::fabs(std::fabs(v) - ByteValue(e4m3, best));
    if (distance < least || (distance == least && k % 2 == 0)) best = k;
  }
  if (std::fabs(v) >= ByteValue(e4m3, largest)) best = largest;
  return best | (std::signbit(v) ? 0x80 : 0);
}

bool BytesOracle(const Form& form, const std::vector<Word>& in, Expected& d) {
  const bool to_bytes = form.type(0)[0] == 'e';
  const bool e4m3 = form.Has("e4m3x2");
  const Format half = FormatNamed("f16");
  if (!to_bytes && form.types_.back()[0] != 'e') return false;
  for (int k = 0; k < 2; ++k) {
    if (!to_bytes) {
      const double v = ByteValue(e4m3, static_cast<uint32_t>(in[0] >> (8 * k) & 0xff));
      uint64_t bits = std::isnan(v)   ? 0x7fff
                      : std::isinf(v) ? 0x7c00
                                      : Exact::Of(std::fabs(v)).Round(half, "rn");
      if (std::signbit(v) && !std::isnan(v)) bits = form.Has("relu") ? 0 : bits | 0x8000;
      d.bits |= Word{bits} << (16 * k);
    } else {
      const double v = in.size() == 2
                           ? ValueOf(FormatNamed("f32"), static_cast<uint64_t>(in[1 - k]))
                           : ValueOf(half, static_cast<uint64_t>(in[0]) >> (16 * k) & 0xffff);
      d.bits |= Word{ToByte(form, e4m3, v)} << (8 * k);
    }
  }
  return true;
}

Word Packed(const Form& form, const std::vector<Word>& in) {
  const std::string to = form.words[3 - 1 + (form.words[2] == "sat" ? 1 : 0)];
  const int bits = Bits(to);
  const auto part = [&](Word v) {
    const I clamped = std::clamp(IntegerOf("s32", v), Low(to), High(to));
    return static_cast<Word>(clamped) & ((Word{1} << bits) - 1);
  };
  const Word above = in.size() == 3 ? in[2] << (2 * bits) : Word{0};
  return (above | part(in[0]) << bits | part(in[1])) & 0xffffffffu;
}

}  // namespace

bool ConvertOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out) {
  if (form.words[0] != "cvt") return false;
  Expected d;
  if (form.Has("pack")) {
    d.bits = Packed(form, in);
  } else if (!BytesOracle(form, in, d)) {
    const std::string& to = form.type(0);
    const std::string& from = form.types_.back();
    const int register_bits = RegisterBits(form.results[0]);
    const Word mask = (Word{1} << register_bits) - 1;
    if (to == "f16x2" || to == "bf16x2") {
      const Format half = FormatNamed(to);
      d.bits = Word{ToFloat(form, half, from, in[0])} << 16 | ToFloat(form, half, from, in[1]);
    } else if (to == "tf32") {
      const uint64_t bits = ToFloat(form, FormatNamed(to), from, in[0]);
      d.bits = bits == 0x3ffff ? Word{0x7fffffff} : Word{bits} << 13;
    } else if (!IsInteger(to)) {
      d.bits = ToFloat(form, FormatNamed(to), from, in[0]);
      d.any_nan =
          to == "f64" && std::isnan(ValueOf(FormatNamed(to), static_cast<uint64_t>(d.bits)));
    } else if (!IsInteger(from)) {
      d.bits = static_cast<Word>(ToInteger(form, to, from, static_cast<uint64_t>(in[0]))) & mask;
      // no number's value, too, is a value of the type in a wider register
      d.bits = static_cast<Word>(IntegerOf(to, d.bits)) & mask;
    } else {
      I v = IntegerOf(from, in[0]);
      if (form.Has("sat")) v = std::clamp(v, Low(to), High(to));
      d.bits = static_cast<Word>(IntegerOf(to, static_cast<Word>(v))) & mask;
    }
  }
  out.push_back(d);
  return true;
}

}  // namespace softgpu::testing
