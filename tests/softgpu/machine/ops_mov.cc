// mov: copies of registers, constants and addresses, vectors packed into a register and unpacked
// from one, and the clocks. Shadows go with the bytes.
#include <algorithm>

#include "tests/softgpu/machine/ops_logic.h"

namespace softgpu {
namespace {

using U128 = unsigned __int128;

template <class T>
void RunCopy(Warp& w, const Inst& i) {
  T d[kLanes];
  uint8_t shadow[kLanes];
  std::memcpy(d, Get<T>(w, i.r[1]), sizeof(d));
  std::memcpy(shadow, Shadow(w, i.r[1], sizeof(T)), kLanes);
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(T), shadow);
}

void RunCopyPredicate(Warp& w, const Inst& i) {
  PutPredicate(w, i.r[0], PredicateValue(w, i.r[1]), PredicateShadow(w, i.r[1]));
}

// 8-bit values are in 16-bit slots.
template <class E>
using SlotOf = std::conditional_t<sizeof(E) == 1, uint16_t, E>;

// The shadow of an element within its whole's: a bit a byte, but half as many where the whole has
// 16 bytes.
template <class Whole, class E>
constexpr int kShadowBits = sizeof(Whole) == 16 ? sizeof(E) / 2 : sizeof(E);
template <class Whole, class E>
uint8_t ToWhole(uint8_t shadow) {
  if constexpr (sizeof(Whole) == 16) {
    const unsigned pairs = shadow | (shadow >> 1);
    return static_cast<uint8_t>((pairs & 1) | (pairs >> 1 & 2) | (pairs >> 2 & 4) |
                                (pairs >> 3 & 8));
  } else {
    return shadow & ShadowAll(sizeof(E));
  }
}
template <class Whole, class E>
uint8_t FromWhole(unsigned shadow) {
  if constexpr (sizeof(Whole) == 16) {
    const unsigned each = (shadow & 1) | (shadow & 2) << 1 | (shadow & 4) << 2 | (shadow & 8) << 3;
    return static_cast<uint8_t>((each | each << 1) & ShadowAll(sizeof(E)));
  } else {
    return static_cast<uint8_t>(shadow) & ShadowAll(sizeof(E));
  }
}

// r: the whole, then its elements from the lowest on.
template <class Whole, class E>
void RunPack(Warp& w, const Inst& i) {
  constexpr int kCount = sizeof(Whole) / sizeof(E);
  Whole d[kLanes] = {};
  uint8_t shadow[kLanes] = {};
  for (int k = 0; k < kCount; ++k) {
    const auto* e = Get<SlotOf<E>>(w, i.r[k + 1]);
    const uint8_t* s = Shadow(w, i.r[k + 1], sizeof(SlotOf<E>));
    for (int l = 0; l < kLanes; ++l) {
      d[l] |= static_cast<Whole>(static_cast<Whole>(static_cast<E>(e[l])) << (8 * k * sizeof(E)));
    }
    for (int l = 0; l < kLanes; ++l) {
      shadow[l] |= static_cast<uint8_t>(ToWhole<Whole, E>(s[l]) << (k * kShadowBits<Whole, E>));
    }
  }
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(Whole), shadow);
}

// r: the elements (kNoRef: not wanted), then the whole in r[4].
template <class Whole, class E>
void RunUnpack(Warp& w, const Inst& i) {
  constexpr int kCount = sizeof(Whole) / sizeof(E);
  Whole a[kLanes];
  uint8_t shadow[kLanes];
  std::memcpy(a, Get<Whole>(w, i.r[4]), sizeof(a));
  std::memcpy(shadow, Shadow(w, i.r[4], sizeof(Whole)), kLanes);
  for (int k = 0; k < kCount; ++k) {
    if (i.r[k] == kNoRef) continue;
    SlotOf<E> e[kLanes];
    uint8_t s[kLanes];
    for (int l = 0; l < kLanes; ++l) e[l] = static_cast<E>(a[l] >> (8 * k * sizeof(E)));
    for (int l = 0; l < kLanes; ++l) {
      s[l] = FromWhole<Whole, E>(static_cast<unsigned>(shadow[l]) >> (k * kShadowBits<Whole, E>));
    }
    Put(w, i.r[k], e);
    PutShadow(w, i.r[k], sizeof(SlotOf<E>), s);
  }
}

// Time, as far as this machine has one: instructions that the worker ran, so that a seed's run
// repeats. imm: how far to shift the count down (the upper words).
template <class T>
void RunClock(Warp& w, const Inst& i) {
  T now[kLanes];
  for (int l = 0; l < kLanes; ++l) now[l] = static_cast<T>(w.counters->warp_insts >> i.imm);
  Put(w, i.r[0], now);
  ClearShadow(w, i.r[0], sizeof(T));
}
struct Clock {
  const char* name;
  int bytes, shift;
};
constexpr Clock kClocks[] = {
    {"%clock", 4, 0},       {"%clock_hi", 4, 32},      {"%clock64", 8, 0},
    {"%globaltimer", 8, 0}, {"%globaltimer_lo", 4, 0}, {"%globaltimer_hi", 4, 32},
};

// Executors by the bytes of the whole and how many elements it has; nullptr: no such vector.
Exec PackOf(int bytes, size_t count) {
  if (bytes == 2 && count == 2) return RunPack<uint16_t, uint8_t>;
  if (bytes == 4 && count == 2) return RunPack<uint32_t, uint16_t>;
  if (bytes == 4 && count == 4) return RunPack<uint32_t, uint8_t>;
  if (bytes == 8 && count == 2) return RunPack<uint64_t, uint32_t>;
  if (bytes == 8 && count == 4) return RunPack<uint64_t, uint16_t>;
  if (bytes == 16 && count == 2) return RunPack<U128, uint64_t>;
  return nullptr;
}
Exec UnpackOf(int bytes, size_t count) {
  if (bytes == 2 && count == 2) return RunUnpack<uint16_t, uint8_t>;
  if (bytes == 4 && count == 2) return RunUnpack<uint32_t, uint16_t>;
  if (bytes == 4 && count == 4) return RunUnpack<uint32_t, uint8_t>;
  if (bytes == 8 && count == 2) return RunUnpack<uint64_t, uint32_t>;
  if (bytes == 8 && count == 4) return RunUnpack<uint64_t, uint16_t>;
  if (bytes == 16 && count == 2) return RunUnpack<U128, uint64_t>;
  return nullptr;
}
Type BitType(int bytes) {
  return bytes == 1   ? Type::kB8
         : bytes == 2 ? Type::kB16
         : bytes == 4 ? Type::kB32
         : bytes == 8 ? Type::kB64
                      : Type::kB128;
}

bool IsVector(const ptx::Operand& operand) { return operand.kind == ptx::Operand::Kind::kVector; }

void BuildVectorMov(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Type type) {
  const ptx::Operand& d = instruction.operands[0];
  const ptx::Operand& a = instruction.operands[1];
  if (IsVector(d) && IsVector(a)) decoder.Refuse("one side must be a register");
  if (type != BitType(Bytes(type))) decoder.Refuse("vectors are of bit types");
  const auto& elements = IsVector(d) ? d.elements : a.elements;
  inst.exec =
      IsVector(d) ? UnpackOf(Bytes(type), elements.size()) : PackOf(Bytes(type), elements.size());
  if (inst.exec == nullptr) decoder.Refuse("no such vector fits the type");
  const Type part = BitType(Bytes(type) / static_cast<int>(elements.size()));
  for (size_t k = 0; k < elements.size(); ++k) {
    if (!IsVector(d)) {
      inst.r[k + 1] = decoder.Source(elements[k], part);
    } else if (elements[k].kind != ptx::Operand::Kind::kSink) {
      inst.r[k] = decoder.Destination(elements[k], part);
    }
  }
  if (IsVector(d)) {
    inst.r[4] = decoder.Source(a, type);
  } else {
    inst.r[0] = decoder.Destination(d, type);
  }
}

bool BuildClock(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Type type) {
  const ptx::Operand& a = instruction.operands[1];
  const auto clock = std::find_if(std::begin(kClocks), std::end(kClocks),
                                  [&](const Clock& c) { return a.name == c.name; });
  if (a.kind != ptx::Operand::Kind::kSpecial || clock == std::end(kClocks)) return false;
  if (Bytes(type) != clock->bytes) decoder.Refuse("the special register has another size");
  inst.exec = clock->bytes == 4 ? RunClock<uint32_t> : RunClock<uint64_t>;
  inst.imm = clock->shift;
  inst.r[0] = decoder.Destination(instruction.operands[0], type);
  return true;
}

}  // namespace

void BuildMov(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  words.Finish();
  decoder.Operands(2);
  inst.klass = InstClass::kMove;
  const auto& operands = instruction.operands;
  switch (type) {
    case Type::kPred: {
      bool negated = false;
      inst.exec = RunCopyPredicate;
      inst.r[0] = decoder.Predicate(operands[0]);
      inst.r[1] = decoder.SourcePredicate(operands[1], &negated);
      if (negated || inst.r[0] == kNoRef) decoder.Refuse("needs two predicate registers");
      return;
    }
    case Type::kB16:
    case Type::kU16:
    case Type::kS16:
      inst.exec = RunCopy<uint16_t>;
      break;
    case Type::kB32:
    case Type::kU32:
    case Type::kS32:
    case Type::kF32:
      inst.exec = RunCopy<uint32_t>;
      break;
    case Type::kB64:
    case Type::kU64:
    case Type::kS64:
    case Type::kF64:
      inst.exec = RunCopy<uint64_t>;
      break;
    case Type::kB128:
      inst.exec = RunCopy<U128>;
      break;
    default:
      words.Refuse("there is no such operation on this type");
  }
  if (IsVector(operands[0]) || IsVector(operands[1])) {
    BuildVectorMov(instruction, decoder, inst, type);
  } else if (!BuildClock(instruction, decoder, inst, type)) {
    SetOperands(instruction, decoder, inst, {type, type});
  }
}

}  // namespace softgpu
