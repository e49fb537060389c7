// cvt between single values, where a float is on one side at least.
#include "tests/softgpu/machine/convert.h"

namespace softgpu {
namespace {

void RunToFloat(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  double v[kLanes];
  uint8_t shadow[kLanes];
  LoadDoubles(w, i.r[1], c, v);
  SourceShadow(w, i.r[1], c, shadow);
  RoundDoubles(c, v);
  StoreDoubles(w, i.r[0], c, v);
  StoreShadow(w, i.r[0], c, shadow);
}

// 64-bit integers do not fit an f64.
void RunWideToFloat(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  const FloatFormat& format = FormatOf(c.to);
  int64_t v[kLanes];
  uint64_t bits[kLanes];
  uint8_t shadow[kLanes];
  LoadIntegers(w, i.r[1], c, v);
  SourceShadow(w, i.r[1], c, shadow);
  const bool is_signed = IsSigned(c.from);
  for (int l = 0; l < kLanes; ++l) {
    Number number = is_signed ? NumberOf(v[l]) : NumberOf(static_cast<uint64_t>(v[l]));
    if (c.sat) number = NumberOf(static_cast<uint64_t>(!number.negative && v[l] != 0));
    bits[l] = RoundToFormat(number, format, c.rounding, c.finite);
  }
  StoreBits(w, i.r[0], c.to_slot, bits);
  StoreShadow(w, i.r[0], c, shadow);
}

// f32 and f64 to each other, to nearest, where nothing else is asked for.
void RunFloatToDouble(Warp& w, const Inst& i) {
  Apply1<double, float>(w, i, [](float a) { return static_cast<double>(a); });
}
void RunDoubleToFloat(Warp& w, const Inst& i) {
  Apply1<float, double>(w, i, [](double a) { return Output<false, false>(static_cast<float>(a)); });
}

// Integers in registers of their size, to nearest.
template <class D, class A>
void RunDirect(Warp& w, const Inst& i) {
  Apply1<D, A>(w, i, [](A a) { return static_cast<D>(a); });
}
template <class D>
Exec DirectFrom(Type from) {
  switch (from) {
    case Type::kU16:
      return RunDirect<D, uint16_t>;
    case Type::kS16:
      return RunDirect<D, int16_t>;
    case Type::kU32:
      return RunDirect<D, uint32_t>;
    case Type::kS32:
      return RunDirect<D, int32_t>;
    case Type::kU64:
      return RunDirect<D, uint64_t>;
    case Type::kS64:
      return RunDirect<D, int64_t>;
    default:
      return nullptr;
  }
}

// f32 and halves to each other, to nearest.
template <class Format>
void RunWiden(Warp& w, const Inst& i) {
  float f[kLanes];
  uint8_t s[kLanes];
  Format::template Load<kLanes>(Get<uint16_t>(w, i.r[1]), f);
  for (int l = 0; l < kLanes; ++l) f[l] = Output<false, false>(f[l]);
  MixAndSpread(ShadowAll(4), s, Shadow(w, i.r[1], 2));
  Put(w, i.r[0], f);
  PutShadow(w, i.r[0], 4, s);
}
template <class Format>
void RunNarrow(Warp& w, const Inst& i) {
  uint16_t h[kLanes];
  uint8_t s[kLanes];
  Format::template Store<kLanes>(Get<float>(w, i.r[1]), h);
  MixAndSpread(ShadowAll(2), s, Shadow(w, i.r[1], 4));
  Put(w, i.r[0], h);
  PutShadow(w, i.r[0], 2, s);
}

template <class T>
T Clamped(double v) {
  constexpr double kLow = static_cast<double>(std::numeric_limits<T>::min());
  constexpr double kEnd = 2.0 * static_cast<double>(std::numeric_limits<T>::max() / 2 + 1);
  if (v != v) return T{0};
  if (v < kLow) return std::numeric_limits<T>::min();
  return v < kEnd ? static_cast<T>(v) : std::numeric_limits<T>::max();
}

// Integers of at most 32 bits from whole doubles: a clamp, then the lowest bits of a number near
// 2^52.
void ToSmallInteger(const Conversion& c, const double* v, uint64_t* bits) {
  const int width = 8 * c.to_bytes;
  const auto top = static_cast<double>(uint64_t{1} << (width - 1));
  const double low = c.to_signed ? -top : 0.0;
  const double high = (c.to_signed ? top : 2 * top) - 1;
  const double no_number = c.from != Type::kF64 ? 0.0 : c.to_signed ? low : top;
  for (int l = 0; l < kLanes; ++l) {
    const double x = v[l] == v[l] ? v[l] : no_number;
    const double clamped = x < low ? low : x > high ? high : x;
    const auto near = std::bit_cast<int64_t>(clamped + 0x1.8p52);
    bits[l] = static_cast<uint64_t>(near - std::bit_cast<int64_t>(0x1.8p52));
  }
}

void RunToInteger(Warp& w, const Inst& i) {
  const auto& c = *static_cast<const Conversion*>(i.extra);
  double v[kLanes];
  uint64_t bits[kLanes];
  uint8_t shadow[kLanes];
  LoadDoubles(w, i.r[1], c, v);
  SourceShadow(w, i.r[1], c, shadow);
  RoundDoubles(c, v);
  if (c.to_bytes <= 4) {
    ToSmallInteger(c, v, bits);
  } else {
    for (int l = 0; l < kLanes; ++l) {
      const uint64_t number =
          IsSigned(c.to) ? static_cast<uint64_t>(Clamped<int64_t>(v[l])) : Clamped<uint64_t>(v[l]);
      bits[l] = v[l] == v[l] ? number : uint64_t{1} << 63;
    }
  }
  StoreBits(w, i.r[0], c.to_slot, bits);
  StoreShadow(w, i.r[0], c, shadow);
}

bool IsScalarFloat(Type type) {
  return type == Type::kF16 || type == Type::kBF16 || type == Type::kF32 || type == Type::kF64;
}

// Which rounding the pair of types needs; refuses what the manual does not have.
void CheckRounding(Words& words, const Conversion& c, int float_word, int integer_word) {
  const bool from_float = IsScalarFloat(c.from), to_float = IsScalarFloat(c.to);
  if (float_word >= 0 && integer_word >= 0) words.Refuse("takes one rounding");
  if (!from_float && !to_float) {
    if (float_word >= 0 || integer_word >= 0) words.Refuse("integers take no rounding");
  } else if (from_float && !to_float) {
    if (integer_word < 0) words.Refuse("needs .rni, .rzi, .rmi or .rpi");
  } else if (!from_float) {
    if (float_word < 0) words.Refuse("needs .rn, .rz, .rm or .rp");
  } else if (c.from == c.to) {
    if (float_word >= 0) words.Refuse("takes no rounding, or one to integers");
  } else {
    const bool narrows =
        Bytes(c.to) < Bytes(c.from) || (c.to == Type::kBF16 && c.from == Type::kF16);
    if (integer_word >= 0 || narrows != (float_word >= 0)) {
      words.Refuse(narrows ? "needs .rn, .rz, .rm or .rp" : "takes no rounding");
    }
  }
}

// Whether an integer type has values that another one has not.
bool CanSaturate(const Conversion& c) {
  if (IsSigned(c.from) && !IsSigned(c.to)) return true;
  const int from = 8 * Bytes(c.from) - IsSigned(c.from), to = 8 * Bytes(c.to) - IsSigned(c.to);
  return from > to;
}

void CheckFlags(Words& words, Decoder& decoder, const Conversion& c) {
  const bool half = c.to == Type::kF16 || c.to == Type::kBF16;
  if ((c.relu || c.finite) && (c.from != Type::kF32 || !half || c.to_integer)) {
    words.Refuse(".relu and .satfinite are for .f32 to .f16 or .bf16");
  }
  if (c.sat && IsInteger(c.from) && IsInteger(c.to) && !CanSaturate(c)) {
    words.Refuse(".sat is for what may not fit");
  }
  if (c.ftz && (c.relu || c.finite)) words.Refuse("takes no .ftz here");
  if (c.ftz && c.from != Type::kF32 && c.to != Type::kF32) words.Refuse(".ftz is for .f32");
  const bool bf16 = c.from == Type::kBF16 || c.to == Type::kBF16;
  const bool with_f32 = (c.from == Type::kF32 && c.to == Type::kBF16) ||
                        (c.from == Type::kBF16 && c.to == Type::kF32);
  if (bf16 && c.sat) words.Refuse(".sat is not for .bf16");
  const Type other = c.from == Type::kBF16 ? c.to : c.from;
  if (bf16 && (other == Type::kU8 || other == Type::kS8)) {
    words.Refuse("there is no such conversion");
  }
  const bool widens = c.from == Type::kBF16;
  if (bf16 && (!with_f32 || c.to_integer || (widens && c.ftz)) && decoder.target() < 90) {
    words.Refuse("needs sm_90");
  }
}

void SetRegisters(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst,
                  Conversion& c) {
  decoder.Operands(2);
  // A register may be wider than an integer type; not than a float type.
  const auto place = [&](const ptx::Operand& operand, Type type, int* slot) {
    if (IsInteger(type) && operand.kind == ptx::Operand::Kind::kRegister) {
      const Ref ref = decoder.AnyRegister(operand, slot);
      if (*slot < Bytes(type) || *slot > 8) decoder.Refuse("a register does not fit its type");
      return ref;
    }
    *slot = std::max(2, Bytes(type));
    return decoder.Source(operand, type);
  };
  if (instruction.operands[0].kind == ptx::Operand::Kind::kRegister) {
    inst.r[0] = place(instruction.operands[0], c.to, &c.to_slot);
  } else {
    c.to_slot = std::max(2, Bytes(c.to));
    inst.r[0] = decoder.Destination(instruction.operands[0], c.to);
  }
  inst.r[1] = place(instruction.operands[1], c.from, &c.from_slot);
}

// The common conversions, for which one loop does it; nullptr: none of them.
Exec PickDirect(const Conversion& c) {
  const bool nearest = c.rounding == RoundTo::kNearest && !c.finite;
  if (!nearest || c.to_integer || c.ftz || c.sat || c.relu) return nullptr;
  if (IsInteger(c.from)) {
    if (c.from_slot != c.from_bytes) return nullptr;
    if (c.to == Type::kF32) return DirectFrom<float>(c.from);
    return c.to == Type::kF64 ? DirectFrom<double>(c.from) : nullptr;
  }
  if (c.to == Type::kF32) {
    if (c.from == Type::kF64) return RunDoubleToFloat;
    if (c.from == Type::kF16) return RunWiden<F16>;
    if (c.from == Type::kBF16) return RunWiden<BF16>;
  }
  if (c.from == Type::kF32) {
    if (c.to == Type::kF64) return RunFloatToDouble;
    if (c.to == Type::kF16) return RunNarrow<F16>;
    if (c.to == Type::kBF16) return RunNarrow<BF16>;
  }
  return nullptr;
}
Exec PickExec(const Conversion& c) {
  if (IsInteger(c.to)) return RunToInteger;
  if (const Exec direct = PickDirect(c)) return direct;
  return IsInteger(c.from) && c.from_bytes == 8 ? RunWideToFloat : RunToFloat;
}

void BuildCvt(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  inst.klass = InstClass::kConvert;
  if (BuildConvertPack(instruction, decoder, inst)) return;
  Words words(instruction);
  Conversion c;
  const int float_word = TakeRounding(words);
  const int integer_word = words.TakeOneOf({"rni", "rzi", "rmi", "rpi"});
  if (float_word >= 0) c.rounding = static_cast<RoundTo>(float_word);
  c.to_integer = integer_word >= 0;
  if (c.to_integer) c.integer_rounding = static_cast<Rounding>(integer_word);
  c.ftz = words.Take("ftz");
  c.relu = words.Take("relu");
  c.finite = words.Take("satfinite");
  c.sat = words.Take("sat");
  c.to = words.TakeType();
  c.from = words.TakeType();
  words.Finish();
  for (const Type type : {c.to, c.from}) {
    if (!IsInteger(type) && !IsScalarFloat(type)) words.Refuse("there is no such conversion");
  }
  CheckRounding(words, c, float_word, integer_word);
  CheckFlags(words, decoder, c);
  SetRegisters(instruction, decoder, inst, c);
  c.from_bytes = Bytes(c.from);
  c.to_bytes = Bytes(c.to);
  c.to_signed = IsSigned(c.to);
  if (IsInteger(c.to) && IsInteger(c.from)) {
    BuildConvertIntegers(decoder, inst, c);
    return;
  }
  // Of floats to integers all results are clamped: .sat says nothing more.
  if (IsInteger(c.to)) c.sat = false;
  inst.exec = PickExec(c);
  inst.extra = decoder.code().Keep<Conversion>(c);
}

}  // namespace

void AddConvertOps(BuilderTable& table) { table["cvt"] = BuildCvt; }

}  // namespace softgpu
