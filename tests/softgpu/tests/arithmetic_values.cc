// Operands for arithmetic_rows.h: the values where implementations go wrong, each against each, and
// seeded random ones of several kinds.
#include <algorithm>

#include "tests/softgpu/tests/arithmetic_rows.h"
#include "tests/softgpu/tests/exact.h"

namespace softgpu::testing {
namespace {

bool IsFloatType(const std::string& type) {
  return type[0] == 'f' || type.rfind("bf", 0) == 0 || type == "tf32";
}
bool IsPairType(const std::string& type) {
  return type.size() > 2 && type.substr(type.size() - 2) == "x2";
}
std::string HalfOf(const std::string& pair) { return pair.substr(0, pair.size() - 2); }

// Exponents and mantissas at their ends and around one half, 1 and the integers' limits.
std::vector<Word> FloatEdges(const std::string& type) {
  const Format f = FormatNamed(type);
  const uint64_t all = (uint64_t{1} << f.mantissa_bits) - 1;
  const int top = (1 << f.exponent_bits) - 1;
  std::vector<Word> edges;
  for (const int e : {0, 1, 2, f.bias() - 24, f.bias() - 2, f.bias() - 1, f.bias(), f.bias() + 1,
                      f.bias() + 7, f.bias() + 8, f.bias() + 15, f.bias() + 16, f.bias() + 31,
                      f.bias() + 32, f.bias() + 63, f.bias() + 64, top - 3, top - 1, top}) {
    if (e < 0 || e > top) continue;
    for (const uint64_t m : {uint64_t{0}, uint64_t{1}, all / 2 + 1, all}) {
      const uint64_t bits = static_cast<uint64_t>(e) << f.mantissa_bits | m;
      edges.push_back(bits);
      edges.push_back(bits | f.sign());
    }
  }
  return edges;
}

std::vector<Word> IntegerEdges(int bits) {
  std::vector<Word> edges;
  for (const uint64_t v :
       {0, 1, 2, 3, 7, 8, 15, 16, 17, 24, 31, 32, 33, 40, 63, 64, 65, 100, 255}) {
    edges.push_back(v);
    edges.push_back(~Word{v});
  }
  for (const int b : {8, 16, 24, 32, 64}) {
    if (b > bits) continue;
    const Word high = Word{1} << (b - 1);
    for (const Word v : {high, high - 1, high + 1, high << 1, (high << 1) - 1}) edges.push_back(v);
  }
  edges.push_back(0x5555555555555555u);
  edges.push_back(0xff00ff00ff00ff00u);
  return edges;
}

std::vector<Word> Edges(const std::string& type) {
  const int bits = RegisterBits(type);
  if (bits == 1) return {0, 1};
  std::vector<Word> edges;
  if (IsPairType(type) && type[0] != 'e') {
    const auto halves = Edges(HalfOf(type));
    for (size_t k = 0; k < halves.size(); ++k) {
      edges.push_back(halves[k] << 16 | halves[(k * 7 + 3) % halves.size()]);
    }
  } else if (IsFloatType(type)) {
    edges = FloatEdges(type);
  } else {
    edges = IntegerEdges(bits);
  }
  const Word mask = bits == 128 ? ~Word{0} : (Word{1} << bits) - 1;
  for (Word& edge : edges) edge &= mask;
  return edges;
}

Word RandomValue(const std::string& type, Numbers& numbers) {
  const int bits = RegisterBits(type);
  if (bits == 1) return numbers.Below(2);
  if (IsPairType(type) && type[0] != 'e') {
    const Word upper = RandomValue(HalfOf(type), numbers);
    return upper << 16 | RandomValue(HalfOf(type), numbers);
  }
  const Word mask = bits == 128 ? ~Word{0} : (Word{1} << bits) - 1;
  const Word any = Word{numbers.Next()} << 64 | numbers.Next();
  const uint32_t kind = numbers.Below(4);
  if (kind == 0) {
    const auto edges = Edges(type);
    return edges[numbers.Below(static_cast<uint32_t>(edges.size()))];
  }
  if (IsFloatType(type) && kind != 1) {  // near 1, often of few digits: sums cancel, ties occur
    const Format f = FormatNamed(type);
    const int drop = static_cast<int>(numbers.Below(static_cast<uint32_t>(f.mantissa_bits)));
    const uint64_t all = (uint64_t{1} << f.mantissa_bits) - 1;
    const uint64_t m = static_cast<uint64_t>(any) & (kind == 2 ? all : all >> drop << drop);
    const uint64_t e = static_cast<uint64_t>(f.bias() - 3) + numbers.Below(7);
    return e << f.mantissa_bits | m | (numbers.Below(2) ? f.sign() : 0);
  }
  if (kind == 2) return (any & mask) >> numbers.Below(static_cast<uint32_t>(bits));
  if (kind == 3 && !IsFloatType(type)) return numbers.Below(80);
  return any & mask;
}

// -(a * b), rounded: what a fused multiply-add must not round first.
Word NearProduct(const std::string& type, Word a, Word b) {
  if (IsPairType(type)) {
    const std::string half = HalfOf(type);
    return NearProduct(half, a >> 16, b >> 16) << 16 | NearProduct(half, a & 0xffff, b & 0xffff);
  }
  const Format f = FormatNamed(type);
  const double x = ValueOf(f, static_cast<uint64_t>(a)), y = ValueOf(f, static_cast<uint64_t>(b));
  if (!std::isfinite(x) || !std::isfinite(y)) return a;
  return Exact::Product(-x, y).Round(f, "rn");
}

}  // namespace

Inputs MakeInputs(const Form& form, uint64_t seed, size_t lanes) {
  Numbers numbers(seed);
  Inputs inputs;
  const size_t n = form.sources.size();
  inputs.values.assign(n, std::vector<Word>(lanes));
  inputs.unwritten.assign(n, std::vector<uint32_t>(lanes, 0));
  std::vector<std::vector<Word>> edges;
  size_t all = 1;
  for (const std::string& type : form.sources) {
    edges.push_back(Edges(type));
    all *= edges.back().size();
  }
  // All combinations of edges where they fit, else evenly chosen ones, in half of the lanes.
  const size_t half = std::min(all, lanes / 2);
  for (size_t l = 0; l < lanes; ++l) {
    size_t at = l < half ? l * all / half + numbers.Below(static_cast<uint32_t>(all / half)) : 0;
    for (size_t k = 0; k < n; ++k) {
      inputs.values[k][l] =
          l < half ? edges[k][at % edges[k].size()] : RandomValue(form.sources[k], numbers);
      at /= edges[k].size();
    }
    if (n == 3 && (form.words[0] == "fma" || form.words[0] == "mad") && l % 3 == 0 && l > half &&
        IsFloatType(form.sources[2])) {
      inputs.values[2][l] = NearProduct(form.sources[0], inputs.values[0][l], inputs.values[1][l]);
    }
  }
  return inputs;
}

}  // namespace softgpu::testing
