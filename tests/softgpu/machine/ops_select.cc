// selp and slct (one of two values, shadow and all), testp, copysign.
#include "tests/softgpu/machine/ops_select.h"

#include "tests/softgpu/machine/rounding.h"

namespace softgpu {
namespace {

// r: d, a, b. take: 0xff where a is meant; unknown: where the choice hangs on unwritten bits.
template <class T>
void Choose(Warp& w, const Inst& i, const uint8_t* take, const uint8_t* unknown) {
  const T* a = Get<T>(w, i.r[1]);
  const T* b = Get<T>(w, i.r[2]);
  const uint8_t* a_shadow = Shadow(w, i.r[1], sizeof(T));
  const uint8_t* b_shadow = Shadow(w, i.r[2], sizeof(T));
  T d[kLanes];
  uint8_t shadow[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const T x = a[l], y = b[l];  // both are read, so that this vectorises
    d[l] = take[l] ? x : y;
  }
  for (int l = 0; l < kLanes; ++l) {
    const uint8_t x = a_shadow[l], y = b_shadow[l];
    shadow[l] = take[l] ? x : y;
  }
  for (int l = 0; l < kLanes; ++l) shadow[l] = unknown[l] ? ShadowAll(sizeof(T)) : shadow[l];
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(T), shadow);
}

template <class T>
void RunSelp(Warp& w, const Inst& i) {
  uint8_t take[kLanes], unknown[kLanes];
  ByteMask(PredicateValue(w, i.r[3]) ^ i.a, take);
  ByteMask(PredicateShadow(w, i.r[3]), unknown);
  Choose<T>(w, i, take, unknown);
}

template <class T, class C, bool kFtz>
void RunSlct(Warp& w, const Inst& i) {
  const C* c = Get<C>(w, i.r[3]);
  uint8_t take[kLanes];
  for (int l = 0; l < kLanes; ++l) take[l] = Input<kFtz>(c[l]) >= 0 ? 0xff : 0;
  Choose<T>(w, i, take, Shadow(w, i.r[3], sizeof(C)));
}

template <class C, bool kFtz>
Exec SlctOf(int bytes) {
  return bytes == 2   ? RunSlct<uint16_t, C, kFtz>
         : bytes == 4 ? RunSlct<uint32_t, C, kFtz>
                      : RunSlct<uint64_t, C, kFtz>;
}

// The types of selp and slct: 16, 32 and 64 bits, of whatever kind but halves.
Type TakeChosenType(Words& words) {
  const Type type = words.TakeType();
  switch (type) {
    case Type::kB16:
    case Type::kU16:
    case Type::kS16:
    case Type::kB32:
    case Type::kU32:
    case Type::kS32:
    case Type::kF32:
    case Type::kB64:
    case Type::kU64:
    case Type::kS64:
    case Type::kF64:
      return type;
    default:
      words.Refuse("there is no such operation on this type");
  }
}

enum class Property : int { kFinite, kInfinite, kNumber, kNotANumber, kNormal, kSubnormal };
// Zeros count as normal.
template <Property kProperty, class T>
bool Has(T a) {
  using Limits = std::numeric_limits<T>;
  const T size = std::fabs(a);
  switch (kProperty) {
    case Property::kFinite:
      return size < Limits::infinity();
    case Property::kInfinite:
      return size == Limits::infinity();
    case Property::kNumber:
      return a == a;
    case Property::kNotANumber:
      return a != a;
    case Property::kNormal:
      return (size >= Limits::min() && size < Limits::infinity()) || size == 0;
    case Property::kSubnormal:
      return size < Limits::min() && size > 0;
  }
}
template <class T, Property kProperty>
void RunTestp(Warp& w, const Inst& i) {
  const T* a = Get<T>(w, i.r[1]);
  uint8_t has[kLanes];
  for (int l = 0; l < kLanes; ++l) has[l] = Has<kProperty>(a[l]) ? 0xff : 0;
  PutPredicate(w, i.r[0], LanesOf(has), AnyShadow(Shadow(w, i.r[1], sizeof(T))));
}
template <class T>
Exec TestpOf(int property) {
  constexpr Exec kExecs[] = {RunTestp<T, Property::kFinite>, RunTestp<T, Property::kInfinite>,
                             RunTestp<T, Property::kNumber>, RunTestp<T, Property::kNotANumber>,
                             RunTestp<T, Property::kNormal>, RunTestp<T, Property::kSubnormal>};
  return kExecs[property];
}

}  // namespace

void BuildSelp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = TakeChosenType(words);
  words.Finish();
  decoder.Operands(4);
  inst.klass = InstClass::kCompare;
  inst.exec = Bytes(type) == 2   ? RunSelp<uint16_t>
              : Bytes(type) == 4 ? RunSelp<uint32_t>
                                 : RunSelp<uint64_t>;
  inst.r[0] = decoder.Destination(instruction.operands[0], type);
  inst.r[1] = decoder.Source(instruction.operands[1], type);
  inst.r[2] = decoder.Source(instruction.operands[2], type);
  bool negated = false;
  inst.r[3] = decoder.SourcePredicate(instruction.operands[3], &negated);
  inst.a = negated ? kAllLanes : 0;
}

void BuildSlct(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool ftz = words.Take("ftz");
  const Type type = TakeChosenType(words);
  const Type by = words.TakeType();
  words.Finish();
  if (by == Type::kF32) {
    inst.exec = ftz ? SlctOf<float, true>(Bytes(type)) : SlctOf<float, false>(Bytes(type));
  } else if (by == Type::kS32 && !ftz) {
    inst.exec = SlctOf<int32_t, false>(Bytes(type));
  } else {
    words.Refuse("chooses by .s32 or .f32");
  }
  inst.klass = InstClass::kCompare;
  SetOperands(instruction, decoder, inst, {type, type, type, by});
}

void BuildTestp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int property =
      words.TakeOneOf({"finite", "infinite", "number", "notanumber", "normal", "subnormal"});
  if (property < 0) words.Refuse("needs a property");
  const Type type = words.TakeType();
  words.Finish();
  if (type != Type::kF32 && type != Type::kF64) words.Refuse("is for .f32 and .f64");
  decoder.Operands(2);
  inst.klass = InstClass::kCompare;
  inst.exec = type == Type::kF32 ? TestpOf<float>(property) : TestpOf<double>(property);
  inst.r[0] = decoder.Predicate(instruction.operands[0]);
  if (inst.r[0] == kNoRef) decoder.Refuse("needs a destination");
  inst.r[1] = decoder.Source(instruction.operands[1], type);
}

void BuildCopysign(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  words.Finish();
  constexpr auto kCopy = [](auto a, auto b) { return std::copysign(b, a); };
  inst.exec = type == Type::kF32   ? Exec{Run2<kCopy, float, float, float>}
              : type == Type::kF64 ? Exec{Run2<kCopy, double, double, double>}
                                   : nullptr;
  if (inst.exec == nullptr) words.Refuse("is for .f32 and .f64");
  inst.klass = InstClass::kMove;
  SetOperands(instruction, decoder, inst, {type, type, type});
}

}  // namespace softgpu
