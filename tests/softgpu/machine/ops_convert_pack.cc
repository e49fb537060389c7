// cvt of two f32 into one register of halves or of 8-bit floats, of those back, to tf32, and
// cvt.pack.
#include <algorithm>

#include "tests/softgpu/machine/convert.h"

namespace softgpu {
namespace {

// The register's upper and lower parts come from r[1] and r[2]; a part hangs on its own source.
void StorePair(Warp& w, const Inst& i, const Conversion& c, const uint64_t* upper,
               const uint64_t* lower) {
  const int part = c.to_slot / 2;
  uint64_t bits[kLanes];
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) bits[l] = upper[l] << (8 * part) | lower[l];
  const uint8_t* a = Shadow(w, i.r[1], 4);
  const uint8_t* b = Shadow(w, i.r[2], 4);
  for (int l = 0; l < kLanes; ++l) {
    const unsigned high = a[l] ? ShadowAll(part) << part : 0;
    const unsigned low = b[l] ? ShadowAll(part) : 0;
    shadow[l] = static_cast<uint8_t>(high | low);
  }
  StoreBits(w, i.r[0], c.to_slot, bits);
  PutShadow(w, i.r[0], c.to_slot, shadow);
}
void RunPair(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  double v[kLanes];
  uint64_t upper[kLanes], lower[kLanes];
  LoadDoubles(w, i.r[1], c, v);
  RoundDoubles(c, v);
  NarrowDoubles(c, v, upper);
  LoadDoubles(w, i.r[2], c, v);
  RoundDoubles(c, v);
  NarrowDoubles(c, v, lower);
  StorePair(w, i, c, upper, lower);
}

// To nearest, from f32: one rounding, which the processor or a few integer operations do.
template <class Format>
void RunPairNearest(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  uint16_t half[2][kLanes];
  for (int k = 0; k < 2; ++k) {
    float v[kLanes];
    std::memcpy(v, Get<float>(w, i.r[2 - k]), sizeof(v));
    if (c.relu) {
      for (int l = 0; l < kLanes; ++l) v[l] = v[l] <= 0 ? 0.0f : v[l];
    }
    Format::template Store<kLanes>(v, half[k]);
  }
  uint32_t d[kLanes];
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = static_cast<uint32_t>(half[1][l]) << 16 | half[0][l];
  const uint8_t* a = Shadow(w, i.r[1], 4);
  const uint8_t* b = Shadow(w, i.r[2], 4);
  for (int l = 0; l < kLanes; ++l) {
    shadow[l] = static_cast<uint8_t>((a[l] ? 12 : 0) | (b[l] ? 3 : 0));
  }
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, shadow);
}

// From one register of two halves to one of two 8-bit floats.
void RunHalvesToBytes(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  uint16_t halves[2 * kLanes];
  float f[2 * kLanes];
  std::memcpy(halves, Get<uint32_t>(w, i.r[1]), sizeof(halves));
  F16::Load<2 * kLanes>(halves, f);
  uint64_t bits[kLanes];
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    double v[2] = {f[2 * l], f[2 * l + 1]};
    uint64_t byte[2];
    for (int k = 0; k < 2; ++k) {
      if (c.relu) v[k] = v[k] <= 0 ? 0.0 : v[k];
      byte[k] = RoundToFormat(NumberOf(v[k]), FormatOf(c.to), c.rounding, c.finite);
    }
    bits[l] = byte[1] << 8 | byte[0];
    const uint8_t s = Shadow(w, i.r[1], 4)[l];
    shadow[l] = static_cast<uint8_t>((s & 3 ? 1 : 0) | (s & 12 ? 2 : 0));
  }
  StoreBits(w, i.r[0], 2, bits);
  PutShadow(w, i.r[0], 2, shadow);
}

// The half that is worth the same: both formats' numbers are halves.
template <bool kE4M3>
uint16_t HalfOfByte(uint32_t byte) {
  if constexpr (!kE4M3) return static_cast<uint16_t>((byte & 0x7f) > 0x7c ? 0x7fff : byte << 8);
  const uint32_t sign = (byte & 0x80) << 8, mantissa = byte & 7, exponent = (byte >> 3) & 15;
  if ((byte & 0x7f) == 0x7f) return 0x7fff;
  if (exponent != 0) return static_cast<uint16_t>(sign | (exponent + 8) << 10 | mantissa << 7);
  if (mantissa == 0) return static_cast<uint16_t>(sign);
  const int up = std::countl_zero(mantissa) - 29;  // to bring its leading 1 to bit 2
  const uint32_t shifted = (mantissa << (up + 1)) & 7;
  return static_cast<uint16_t>(sign | static_cast<uint32_t>(8 - up) << 10 | shifted << 7);
}
template <bool kE4M3, bool kRelu>
uint32_t HalvesOfBytes(uint16_t bytes) {
  uint32_t halves = 0;
  for (int k = 0; k < 2; ++k) {
    const uint16_t half = HalfOfByte<kE4M3>((bytes >> (8 * k)) & 0xff);
    const bool drop = kRelu && (half & 0x8000) != 0;
    halves |= static_cast<uint32_t>(drop ? 0 : half) << (16 * k);
  }
  return halves;
}
template <bool kE4M3, bool kRelu>
void RunBytesToHalves(Warp& w, const Inst& i) {
  const uint16_t* a = Get<uint16_t>(w, i.r[1]);
  const uint8_t* s = Shadow(w, i.r[1], 2);
  uint32_t d[kLanes];
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = HalvesOfBytes<kE4M3, kRelu>(a[l]);
  for (int l = 0; l < kLanes; ++l) {
    shadow[l] = static_cast<uint8_t>((s[l] & 1 ? 3 : 0) | (s[l] & 2 ? 12 : 0));
  }
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, shadow);
}

// To nearest with ties away, the common one: 13 bits go.
void RunTf32Away(Warp& w, const Inst& i) {
  Apply1<uint32_t, uint32_t>(w, i, [](uint32_t a) {
    const uint32_t size = a & 0x7fffffffu;
    const uint32_t rounded = (a + 0x1000u) & ~0x1fffu;
    return size > 0x7f800000u ? kNaN32 : size == 0x7f800000u ? a : rounded;
  });
}
void RunTf32(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  Apply1<uint32_t, float>(w, i, [&](float a) {
    const float v = c.relu && a <= 0 ? 0.0f : a;
    const uint64_t bits = RoundToFormat(NumberOf(double{v}), kFormatTF32, c.rounding, c.finite);
    return v == v ? static_cast<uint32_t>(bits) : kNaN32;
  });
}

void BuildPair(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst,
               const Conversion& c) {
  decoder.Operands(3);
  inst.exec = RunPair;
  if (c.rounding == RoundTo::kNearest && !c.finite && !c.ftz) {
    if (c.to == Type::kF16) inst.exec = RunPairNearest<F16>;
    if (c.to == Type::kBF16) inst.exec = RunPairNearest<BF16>;
  }
  const Type whole = c.to_slot == 4 ? Type::kB32 : Type::kB16;
  SetOperands(instruction, decoder, inst, {whole, Type::kF32, Type::kF32});
}

void BuildTf32(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
               const Conversion& c) {
  const bool away = c.rounding == RoundTo::kNearestAway;
  if (c.relu && away) words.Refuse(".relu goes with .rn and .rz");
  if (c.finite && !away) words.Refuse(".satfinite goes with .rna");
  if (!away && decoder.target() < 90) words.Refuse("needs sm_90");
  inst.exec = away && !c.finite ? RunTf32Away : RunTf32;
  SetOperands(instruction, decoder, inst, {Type::kB32, Type::kF32});
}

void BuildBytes(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
                Conversion& c, Type to, Type from) {
  if (decoder.target() < 90) words.Refuse("needs sm_89");
  if (c.rounding != RoundTo::kNearest) words.Refuse("needs .rn");
  if (to == Type::kF16x2) {
    if (c.finite) words.Refuse("takes no .satfinite");
    const bool e4m3 = from == Type::kE4M3x2;
    inst.exec = e4m3     ? c.relu ? RunBytesToHalves<true, true> : RunBytesToHalves<true, false>
                    : c.relu ? RunBytesToHalves<false, true>
                         : RunBytesToHalves<false, false>;
    SetOperands(instruction, decoder, inst, {Type::kB32, Type::kB16});
    return;
  }
  if (!c.finite) words.Refuse("needs .satfinite");
  c.to = to;
  c.to_slot = 2;
  if (from == Type::kF32) {
    BuildPair(instruction, decoder, inst, c);
  } else {
    inst.exec = RunHalvesToBytes;
    SetOperands(instruction, decoder, inst, {Type::kB16, Type::kB32});
  }
}

// cvt.pack.sat: a above b, clamped to few bits each, below what c has (at most 8 bits).
struct Pack {
  int bits;
  int32_t low, high;
  bool has_c;
};
void RunPack(Warp& w, const Inst& i) {
  const Pack& pack = *static_cast<const Pack*>(i.extra);
  const auto clamp = [&](int32_t v) {
    const uint32_t field = pack.bits < 32 ? (1u << pack.bits) - 1 : ~0u;
    return static_cast<uint32_t>(std::clamp(v, pack.low, pack.high)) & field;
  };
  const auto both = [&](int32_t a, int32_t b) { return clamp(a) << pack.bits | clamp(b); };
  if (pack.has_c) {
    Apply3<uint32_t, int32_t, int32_t, uint32_t>(
        w, i, [&](int32_t a, int32_t b, uint32_t c) { return c << (2 * pack.bits) | both(a, b); });
  } else {
    Apply2<uint32_t, int32_t, int32_t>(w, i, both);
  }
}
void BuildPack(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words) {
  if (!words.Take("sat")) words.Refuse("needs .sat");
  const int to = words.TakeOneOf({"u2", "s2", "u4", "s4", "u8", "s8", "u16", "s16"});
  if (to < 0 || words.TakeType() != Type::kS32) words.Refuse("there is no such conversion");
  const int bits = 2 << (to / 2);
  const bool is_signed = to % 2 == 1;
  const int32_t high = (1 << (is_signed ? bits - 1 : bits)) - 1;
  const bool has_c = bits < 16;
  if (has_c && words.TakeType() != Type::kB32) words.Refuse("needs .b32");
  words.Finish();
  inst.exec = RunPack;
  inst.extra = decoder.code().Keep<Pack>(Pack{bits, is_signed ? -high - 1 : 0, high, has_c});
  if (has_c) {
    SetOperands(instruction, decoder, inst, {Type::kB32, Type::kS32, Type::kS32, Type::kB32});
  } else {
    SetOperands(instruction, decoder, inst, {Type::kB32, Type::kS32, Type::kS32});
  }
}

bool IsBytes(Type type) { return type == Type::kE4M3x2 || type == Type::kE5M2x2; }

}  // namespace

bool BuildConvertPack(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (words.Take("pack")) {
    BuildPack(instruction, decoder, inst, words);
    return true;
  }
  const int word = words.TakeOneOf({"rn", "rz", "rna"});
  Conversion c;
  // The 8-bit floats have the two words the other way round.
  c.relu = words.Take("relu");
  c.finite = words.Take("satfinite");
  const bool relu_last = c.finite && !c.relu && words.Take("relu");
  c.relu |= relu_last;
  const Type to = ParseType(words.Peek());
  const bool halves = to == Type::kF16x2 || to == Type::kBF16x2;
  if (!halves && to != Type::kTF32 && !IsBytes(to)) return false;
  words.Next();
  if (relu_last != (c.relu && IsBytes(to))) words.Refuse("has its words in another order");
  const Type from = words.TakeType();
  words.Finish();
  if (word < 0) words.Refuse("needs a rounding");
  constexpr RoundTo kRoundings[] = {RoundTo::kNearest, RoundTo::kZero, RoundTo::kNearestAway};
  c.rounding = kRoundings[word];
  if (word == 2 && to != Type::kTF32) words.Refuse(".rna is for .tf32");
  c.from = Type::kF32;
  c.from_slot = c.to_slot = c.from_bytes = 4;
  if (IsBytes(to) || IsBytes(from)) {
    const bool known =
        IsBytes(to) ? from == Type::kF32 || from == Type::kF16x2 : to == Type::kF16x2;
    if (!known) words.Refuse("there is no such conversion");
    BuildBytes(instruction, decoder, inst, words, c, to, from);
  } else if (from != Type::kF32) {
    words.Refuse("there is no such conversion");
  } else if (halves) {
    c.to = to == Type::kF16x2 ? Type::kF16 : Type::kBF16;
    BuildPair(instruction, decoder, inst, c);
  } else {
    c.to = Type::kTF32;
    BuildTf32(instruction, decoder, inst, words, c);
  }
  inst.extra = decoder.code().Keep<Conversion>(c);
  return true;
}

}  // namespace softgpu
