// Integer instructions, logic, shifts and moves, on 128-bit integers or bit by bit, from the PTX
// manual's descriptions.
#include <algorithm>
#include <bit>

#include "tests/softgpu/tests/arithmetic_rows.h"

namespace softgpu::testing {
namespace {

using I = __int128;

I SignExtended(Word v, int bits) {
  const Word one = 1;
  const Word masked = bits == 128 ? v : v & ((one << bits) - 1);
  if (bits < 128 && (masked >> (bits - 1)) & 1)
    return static_cast<I>(masked | ~((one << bits) - 1));
  return static_cast<I>(masked);
}
Word Masked(I v, int bits) {
  return bits == 128 ? static_cast<Word>(v) : static_cast<Word>(v) & ((Word{1} << bits) - 1);
}
// An operand of the type as a number.
I NumberOf(const std::string& type, Word v) {
  const int bits = TypeBits(type);
  return type[0] == 's' ? SignExtended(v, bits) : static_cast<I>(Masked(static_cast<I>(v), bits));
}
I Low(const std::string& type) { return type[0] == 's' ? -(I{1} << (TypeBits(type) - 1)) : I{0}; }
I High(const std::string& type) {
  return (I{1} << (TypeBits(type) - (type[0] == 's' ? 1 : 0))) - 1;
}

// The product's bits: .lo, .hi, .wide. 24: of the low 24 bits, .hi from bit 16 on.
I Product(const Form& form, const std::string& type, Word x, Word y) {
  const int bits = TypeBits(type);
  const bool is24 = form.words[0].find("24") != std::string::npos;
  I a = NumberOf(type, x), b = NumberOf(type, y);
  if (is24) {
    a = type[0] == 's' ? SignExtended(x, 24) : static_cast<I>(x & 0xffffff);
    b = type[0] == 's' ? SignExtended(y, 24) : static_cast<I>(y & 0xffffff);
  }
  // u64 products have 128 bits: as unsigned ones.
  const I product = static_cast<I>(static_cast<Word>(a) * static_cast<Word>(b));
  if (!form.Has("hi")) return product;
  if (is24) return SignExtended(static_cast<Word>(product >> 16), bits);
  const Word upper =
      type[0] == 's' ? static_cast<Word>(product >> bits) : static_cast<Word>(product) >> bits;
  return type[0] == 's' ? SignExtended(upper, bits) : static_cast<I>(upper);
}

I Divided(const std::string& op, I a, I b) {
  if (b == 0) return -1;  // as sm_80 does; the manual leaves it open
  const I size = (a < 0 ? -a : a) / (b < 0 ? -b : b);
  const I quotient = (a < 0) == (b < 0) ? size : -size;
  return op == "div" ? quotient : a - quotient * b;
}

// One 16-bit half or a whole value.
I Scalar(const Form& form, const std::string& type, const std::vector<Word>& in) {
  const std::string& op = form.words[0];
  const I a = NumberOf(type, in[0]), b = in.size() > 1 ? NumberOf(type, in[1]) : 0;
  if (op == "add") return a + b;
  if (op == "sub") return a - b;
  if (op == "neg") return -a;
  if (op == "abs") return a < 0 ? -a : a;
  if (op == "div" || op == "rem") return Divided(op, a, b);
  if (op == "mul" || op == "mul24") return Product(form, type, in[0], in[1]);
  if (op == "mad" || op == "mad24") {
    const std::string wide = std::string(1, type[0]) + std::to_string(2 * TypeBits(type));
    const I c = form.Has("wide") ? NumberOf(wide, in[2]) : NumberOf(type, in[2]);
    return Product(form, type, in[0], in[1]) + c;
  }
  if (op == "sad") return NumberOf(type, in[2]) + (a > b ? a - b : b - a);
  const I picked = (op == "min") == (a < b) ? a : b;
  return form.Has("relu") && picked < 0 ? 0 : picked;
}

// add.cc and its kin: the result, and the carry or borrow out of it.
void Carried(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out) {
  const std::string& type = form.type(0);
  const std::string& op = form.words[0];
  const int bits = TypeBits(type);
  const bool takes = op.back() == 'c';
  const Word carry = takes ? in.back() & 1 : 0;
  const bool mad = op[0] == 'm';
  const Word x = mad ? Masked(Product(form, type, in[0], in[1]), bits) : in[0];
  const Word y = mad ? in[2] : in[1];
  const I sum = op[0] == 's' ? static_cast<I>(x) - static_cast<I>(y) - static_cast<I>(carry)
                             : static_cast<I>(x) + static_cast<I>(y) + static_cast<I>(carry);
  out.push_back({.bits = Masked(sum, bits)});
  if (form.results.size() > 1) out.push_back({.bits = (static_cast<Word>(sum) >> bits) & 1});
}

Word DotProduct(const Form& form, const std::vector<Word>& in) {
  const bool four = form.words[0] == "dp4a";
  I sum = static_cast<I>(in[2]);
  for (int k = 0; k < (four ? 4 : 2); ++k) {
    const int width = four ? 8 : 16;
    const Word x = in[0] >> (width * k) & ((1u << width) - 1);
    const Word y = in[1] >> (8 * (k + (form.Has("hi") ? 2 : 0))) & 0xff;
    sum += (form.type(0) == "s32" ? SignExtended(x, width) : static_cast<I>(x)) *
           (form.type(1) == "s32" ? SignExtended(y, 8) : static_cast<I>(y));
  }
  return Masked(sum, 32);
}

Word FindNth(const std::vector<Word>& in) {
  const uint32_t mask = static_cast<uint32_t>(in[0]);
  const I base = static_cast<I>(in[1]);
  const I offset = SignExtended(in[2], 32);
  if (base > 31) return 0xffffffffu;
  if (offset == 0) return (mask >> static_cast<int>(base)) & 1 ? in[1] : Word{0xffffffffu};
  I left = offset < 0 ? -offset : offset;
  for (I at = base; at >= 0 && at <= 31; at += offset > 0 ? 1 : -1) {
    if (((mask >> static_cast<int>(at)) & 1) && --left == 0) return static_cast<Word>(at);
  }
  return 0xffffffffu;
}

bool BitOracle(const Form& form, const std::vector<Word>& in, Expected& d) {
  const std::string& op = form.words[0];
  const std::string& type = form.type(0);
  const int bits = TypeBits(type);
  const auto bit = [](Word v, int k) { return (v >> k) & 1; };
  if (op == "popc" || op == "clz") {
    for (int k = 0; k < bits; ++k) {
      if (op == "popc") d.bits += bit(in[0], k);
      if (op == "clz" && in[0] >> k == 0) ++d.bits;
    }
  } else if (op == "bfind") {
    const Word v = NumberOf(type, in[0]) < 0 ? Masked(static_cast<I>(~in[0]), bits) : in[0];
    d.bits = 0xffffffffu;
    for (int k = 0; k < bits; ++k) {
      if (bit(v, k)) d.bits = static_cast<Word>(form.Has("shiftamt") ? bits - 1 - k : k);
    }
  } else if (op == "brev") {
    for (int k = 0; k < bits; ++k) d.bits |= bit(in[0], k) << (bits - 1 - k);
  } else if (op == "bfe") {
    const int pos = static_cast<int>(in[1] & 0xff), len = static_cast<int>(in[2] & 0xff);
    const Word sign =
        type[0] == 'u' || len == 0 ? 0 : bit(in[0], std::min(pos + len - 1, bits - 1));
    for (int k = 0; k < bits; ++k) {
      d.bits |= (k < len && pos + k < bits ? bit(in[0], pos + k) : sign) << k;
    }
  } else if (op == "bfi") {
    const int pos = static_cast<int>(in[2] & 0xff), len = static_cast<int>(in[3] & 0xff);
    d.bits = in[1];
    for (int k = 0; k < len && pos + k < bits; ++k) {
      d.bits = (d.bits & ~(Word{1} << (pos + k))) | bit(in[0], k) << (pos + k);
    }
  } else if (op == "bmsk") {
    const bool clamp = form.Has("clamp");
    const Word a = clamp ? in[0] : in[0] & 31, b = clamp ? in[1] : in[1] & 31;
    for (Word k = 0; k < 32; ++k) d.bits |= Word{k >= a && k < a + b} << static_cast<int>(k);
  } else if (op == "szext") {
    const Word n = form.Has("clamp") ? in[1] : in[1] & 31;
    d.bits = n >= 32         ? in[0]
             : n == 0        ? Word{0}
             : type == "s32" ? Masked(SignExtended(in[0], static_cast<int>(n)), 32)
                             : in[0] & ((Word{1} << static_cast<int>(n)) - 1);
  } else {
    return false;
  }
  return true;
}

Word Shifted(const Form& form, const std::vector<Word>& in) {
  const int bits = TypeBits(form.type(0));
  const int n = static_cast<int>(std::min<Word>(in[1], 127));
  if (form.words[0] == "shl") return n >= bits ? 0 : Masked(static_cast<I>(in[0] << n), bits);
  return Masked(NumberOf(form.type(0), in[0]) >> n, bits);
}
Word Funnel(const Form& form, const std::vector<Word>& in) {
  const uint32_t n =
      static_cast<uint32_t>(form.Has("clamp") ? std::min<Word>(in[2], 32) : in[2] & 31);
  Word d = 0;
  for (int k = 0; k < 32; ++k) {  // bit by bit of the 64-bit value b:a
    const int from = form.Has("l") ? 32 + k - static_cast<int>(n) : k + static_cast<int>(n);
    const Word bit = from < 32 ? in[0] >> from & 1 : from < 64 ? in[1] >> (from - 32) & 1 : 0;
    d |= bit << k;
  }
  return d;
}

// The manual's tables, byte numbers from the highest result byte down.
Word Permuted(const Form& form, const std::vector<Word>& in) {
  const auto byte = [&](int k) {
    return (k < 4 ? in[0] >> (8 * k) : in[1] >> (8 * (k - 4))) & 0xff;
  };
  const std::string mode = form.words.back();
  const int c = static_cast<int>(in[2] & 3);
  Word d = 0;
  for (int k = 0; k < 4; ++k) {
    int from = 0;
    if (mode == "f4e") from = c + k;
    if (mode == "b4e") from = (8 + c - k) % 8;
    if (mode == "rc8") from = c;
    if (mode == "ecl") from = std::max(k, c);
    if (mode == "ecr") from = std::min(k, c);
    if (mode == "rc16") from = 2 * (c & 1) + (k & 1);
    Word value = byte(from);
    if (mode == "b32") {
      const int selector = static_cast<int>(in[2] >> (4 * k)) & 15;
      value = byte(selector & 7);
      if (selector & 8) value = value & 0x80 ? 0xff : 0;
    }
    d |= value << (8 * k);
  }
  return d;
}

Word Moved(const Form& form, const std::vector<Word>& in, size_t result) {
  if (form.sources.size() == form.results.size()) return in[result];
  Word whole = 0;
  int at = 0;
  for (size_t k = 0; k < in.size(); ++k) {
    whole |= in[k] << at;
    at += TypeBits(form.sources[k]);
  }
  const int bits = TypeBits(form.results[result]);
  return Masked(static_cast<I>(whole >> (static_cast<int>(result) * bits % 128)), bits);
}

}  // namespace

bool IntegerOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out) {
  const std::string& op = form.words[0];
  if (form.Has("cc") || op == "addc" || op == "subc" || op == "madc") {
    Carried(form, in, out);
    return true;
  }
  Expected d;
  if (op == "dp4a" || op == "dp2a") {
    d.bits = DotProduct(form, in);
  } else if (op == "fns") {
    d.bits = FindNth(in);
  } else if (!BitOracle(form, in, d)) {
    std::string type = form.type(0);
    const bool pair = type.size() > 4;
    const std::string half = type.substr(0, 3);
    for (int k = 0; k < (pair ? 2 : 1); ++k) {
      std::vector<Word> part = in;
      if (pair) {
        for (Word& word : part) word = word >> (16 * k) & 0xffff;
      }
      I v = Scalar(form, pair ? half : type, part);
      if (form.Has("sat")) v = std::clamp(v, Low(type), High(type));
      d.bits |= Masked(v, pair ? 16 : TypeBits(form.results[0])) << (16 * k);
    }
  }
  out.push_back(d);
  return true;
}

bool LogicOracle(const Form& form, const std::vector<Word>& in, std::vector<Expected>& out) {
  const std::string& op = form.words[0];
  const int bits = TypeBits(form.results[0]);
  Expected d;
  if (op == "and") {
    d.bits = in[0] & in[1];
  } else if (op == "or") {
    d.bits = in[0] | in[1];
  } else if (op == "xor") {
    d.bits = in[0] ^ in[1];
  } else if (op == "not") {
    d.bits = Masked(static_cast<I>(~in[0]), bits);
  } else if (op == "cnot") {
    d.bits = in[0] == 0;
  } else if (op == "lop3") {
    for (int k = 0; k < 32; ++k) {
      const Word index = (in[0] >> k & 1) * 4 + (in[1] >> k & 1) * 2 + (in[2] >> k & 1);
      d.bits |= Word{form.lut >> static_cast<int>(index) & 1} << k;
    }
  } else if (op == "shl" || op == "shr") {
    d.bits = Shifted(form, in);
  } else if (op == "shf") {
    d.bits = Funnel(form, in);
  } else if (op == "prmt") {
    d.bits = Permuted(form, in);
  } else if (op == "mov") {
    for (size_t k = 0; k < form.results.size(); ++k) out.push_back({.bits = Moved(form, in, k)});
    return true;
  } else {
    return false;
  }
  out.push_back(d);
  if (op == "lop3" && form.results.size() == 2) {
    const bool set = d.bits != 0, q = (in[3] & 1) != 0;
    out.push_back({.bits = form.Has("or") ? set || q : set && q});
  }
  return true;
}

}  // namespace softgpu::testing
