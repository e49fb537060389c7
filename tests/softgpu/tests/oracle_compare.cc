// Comparisons and choices, from the PTX manual's tables: both operands as long doubles, which hold
// every value of every type.
#include "tests/softgpu/tests/arithmetic_rows.h"
#include "tests/softgpu/tests/exact.h"

namespace softgpu::testing {
namespace {

bool IsFloatName(const std::string& type) {
  return type[0] == 'f' || type[0] == 'b' ? type.find('f') != std::string::npos : false;
}

long double NumberOf(const Form& form, const std::string& type, Word v) {
  if (IsFloatName(type)) {
    const Format f = FormatNamed(type);
    uint64_t bits = static_cast<uint64_t>(v);
    if (form.Has("ftz") && (bits & f.infinity()) == 0) bits &= f.sign();
    return ValueOf(f, bits);
  }
  const uint64_t bits = static_cast<uint64_t>(v);
  if (type[0] != 's') return bits;
  const int up = 64 - TypeBits(type);
  return static_cast<int64_t>(bits << up) >> up;
}

bool Compared(const std::string& op, long double a, long double b) {
  const bool unordered = std::isnan(a) || std::isnan(b);
  if (op == "num") return !unordered;
  if (op == "nan") return unordered;
  if (unordered) return op.size() == 3;  // equ, neu, ltu, ...
  const std::string plain = op.substr(0, 2);
  if (plain == "eq") return a == b;
  if (plain == "ne") return a != b;
  if (plain == "lt" || plain == "lo") return a < b;
  if (plain == "le" || plain == "ls") return a <= b;
  if (plain == "gt" || plain == "hi") return a > b;
  return a >= b;
}
bool Combined(const Form& form, bool compared, const std::vector<Word>& in) {
  const bool c = in.size() > 2 && (in[2] & 1);
  if (form.words[2] == "and") return compared && c;
  if (form.words[2] == "or") return compared || c;
  if (form.words[2] == "xor") return compared != c;
  return compared;
}

// The comparison itself; upper: of the upper halves of a pair.
bool Holds(const Form& form, const std::vector<Word>& in, bool upper) {
  const std::string& type = form.types_.back();
  const bool pair = type == "f16x2" || type == "bf16x2";
  const auto part = [&](Word v) { return pair ? (upper ? v >> 16 : v) & 0xffff : v; };
  return Compared(form.words[1], NumberOf(form, type, part(in[0])),
                  NumberOf(form, type, part(in[1])));
}

Word TrueValue(const std::string& type) {
  if (type == "f32") return 0x3f800000u;
  if (type == "f16" || type == "f16x2") return 0x3c00;
  if (type == "bf16" || type == "bf16x2") return 0x3f80;
  return TypeBits(type) == 16 ? 0xffff : 0xffffffffu;
}

bool Has(const std::string& property, double v, double smallest) {
  if (property == "finite") return std::isfinite(v);
  if (property == "infinite") return std::isinf(v);
  if (property == "number") return !std::isnan(v);
  if (property == "notanumber") return std::isnan(v);
  const bool subnormal = v != 0 && std::fabs(v) < smallest;
  if (property == "subnormal") return subnormal;
  return std::isfinite(v) && !subnormal;
}

}  // namespace

bool CompareOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out) {
  const std::string& op = form.words[0];
  if (op == "setp") {
    const bool pair = form.types_[0].size() > 4;
    const bool p = Holds(form, in, false);
    out.push_back({.bits = Combined(form, p, in)});
    if (form.results.size() == 2) {
      out.push_back({.bits = Combined(form, pair ? Holds(form, in, true) : !p, in)});
    }
    return true;
  }
  if (op == "set") {
    const bool pair = form.types_.back().size() > 4;
    const Word yes = pair ? TrueValue(form.type(0)) & 0xffff : TrueValue(form.type(0));
    Word bits = Combined(form, Holds(form, in, false), in) ? yes : Word{0};
    if (pair && Combined(form, Holds(form, in, true), in)) bits |= yes << 16;
    out.push_back({.bits = bits});
    return true;
  }
  if (op == "selp") {
    out.push_back({.bits = in[2] & 1 ? in[0] : in[1]});
    return true;
  }
  if (op == "slct") {
    out.push_back({.bits = NumberOf(form, form.type(1), in[2]) >= 0 ? in[0] : in[1]});
    return true;
  }
  if (op == "testp") {
    const Format f = FormatNamed(form.type(0));
    const double smallest = std::ldexp(1.0, 1 - f.bias());
    out.push_back({.bits = Has(form.words[1], ValueOf(f, static_cast<uint64_t>(in[0])), smallest)});
    return true;
  }
  if (op == "copysign") {
    const Word sign = FormatNamed(form.type(0)).sign();
    out.push_back({.bits = (in[1] & (sign - 1)) | (in[0] & sign)});
    const bool nan = std::isnan(ValueOf(FormatNamed(form.type(0)), static_cast<uint64_t>(in[1])));
    out.back().any_nan = nan && form.type(0) == "f64";
    return true;
  }
  return false;
}

}  // namespace softgpu::testing
