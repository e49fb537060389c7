// What the arithmetic families share: executors made from a lambda on one lane's values, type
// switches, and the two rules by which "never written" goes through an operation. The lambda is a
// template argument, so that an executor is one loop over lanes with nothing to ask inside.
#pragma once

#include <initializer_list>
#include <tuple>
#include <utility>

#include "tests/softgpu/machine/decode.h"
#include "tests/softgpu/machine/lanes.h"

namespace softgpu {

// Arithmetic: r[0] = F(r[1], ...); a result is unwritten where any byte of a source is.
template <auto F, class D, class A>
void Run1(Warp& w, const Inst& i) {
  Apply1<D, A>(w, i, F);
}
template <auto F, class D, class A, class B>
void Run2(Warp& w, const Inst& i) {
  Apply2<D, A, B>(w, i, F);
}
template <auto F, class D, class A, class B, class C>
void Run3(Warp& w, const Inst& i) {
  Apply3<D, A, B, C>(w, i, F);
}

// A shadow byte as a mask of a value's bits, and back (a byte counts if any of its bits does).
template <class T>
T ShadowBits(uint8_t shadow) {
  uint64_t bits = 0;
  for (size_t b = 0; b < sizeof(T); ++b) {
    if ((shadow >> b) & 1) bits |= uint64_t{0xff} << (8 * b);
  }
  return static_cast<T>(bits);
}
template <class T>
uint8_t ShadowOfBits(T value) {
  const uint64_t bits = static_cast<uint64_t>(value);
  unsigned shadow = 0;
  for (size_t b = 0; b < sizeof(T); ++b) {
    if ((bits >> (8 * b)) & 0xff) shadow |= 1u << b;
  }
  return static_cast<uint8_t>(shadow);
}

// Whether the shadows of the warp's 32 lanes are all 0.
inline bool AllWritten(const uint8_t* shadow) {
  uint64_t any[4];
  std::memcpy(any, shadow, sizeof(any));
  return (any[0] | any[1] | any[2] | any[3]) == 0;
}

// Operations that only move, copy or drop bits: r[0] = F(r[1], ...), where the first kMoved sources
// are the bits and the others say where to. Unwritten bits move as the bits do, so F itself says
// where they are; an unwritten control makes all unwritten.
template <auto F, int kMoved, class D, class... A, size_t... k>
void MoveBits(Warp& w, const Inst& i, std::index_sequence<k...>) {
  const auto sources = std::make_tuple(Get<A>(w, i.r[k + 1])...);
  const uint8_t* shadows[] = {Shadow(w, i.r[k + 1], sizeof(A))...};
  uint8_t shadow[kLanes];
  MixAndSpread(0xff, shadow, shadows[k]...);
  D d[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = F(std::get<k>(sources)[l]...);
  if (!AllWritten(shadow)) {
    for (int l = 0; l < kLanes; ++l) {
      const bool control = ((static_cast<int>(k) >= kMoved && shadows[k][l] != 0) || ...);
      const D bits = F((static_cast<int>(k) < kMoved ? ShadowBits<A>(shadows[k][l])
                                                     : std::get<k>(sources)[l])...);
      shadow[l] = control ? ShadowAll(sizeof(D)) : ShadowOfBits(bits);
    }
  }
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(D), shadow);
}
template <auto F, int kMoved, class D, class... A>
void RunMove(Warp& w, const Inst& i) {
  MoveBits<F, kMoved, D, A...>(w, i, std::index_sequence_for<A...>{});
}

// Executors with all operands of one integer type; nullptr: none for this type.
template <auto F>
Exec SameInteger1(Type type) {
  switch (type) {
    case Type::kU16:
      return Run1<F, uint16_t, uint16_t>;
    case Type::kS16:
      return Run1<F, int16_t, int16_t>;
    case Type::kU32:
      return Run1<F, uint32_t, uint32_t>;
    case Type::kS32:
      return Run1<F, int32_t, int32_t>;
    case Type::kU64:
      return Run1<F, uint64_t, uint64_t>;
    case Type::kS64:
      return Run1<F, int64_t, int64_t>;
    default:
      return nullptr;
  }
}
template <auto F>
Exec SameInteger2(Type type) {
  switch (type) {
    case Type::kU16:
      return Run2<F, uint16_t, uint16_t, uint16_t>;
    case Type::kS16:
      return Run2<F, int16_t, int16_t, int16_t>;
    case Type::kU32:
      return Run2<F, uint32_t, uint32_t, uint32_t>;
    case Type::kS32:
      return Run2<F, int32_t, int32_t, int32_t>;
    case Type::kU64:
      return Run2<F, uint64_t, uint64_t, uint64_t>;
    case Type::kS64:
      return Run2<F, int64_t, int64_t, int64_t>;
    default:
      return nullptr;
  }
}
template <auto F>
Exec SameInteger3(Type type) {
  switch (type) {
    case Type::kU16:
      return Run3<F, uint16_t, uint16_t, uint16_t, uint16_t>;
    case Type::kS16:
      return Run3<F, int16_t, int16_t, int16_t, int16_t>;
    case Type::kU32:
      return Run3<F, uint32_t, uint32_t, uint32_t, uint32_t>;
    case Type::kS32:
      return Run3<F, int32_t, int32_t, int32_t, int32_t>;
    case Type::kU64:
      return Run3<F, uint64_t, uint64_t, uint64_t, uint64_t>;
    case Type::kS64:
      return Run3<F, int64_t, int64_t, int64_t, int64_t>;
    default:
      return nullptr;
  }
}

// Sets r: a destination of the first type, then sources of the others; refuses another number of
// operands.
void SetOperands(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst,
                 std::initializer_list<Type> types);

// Mnemonics such as "add" belong to several families; the type, its last word that is one, says to
// which. These are the families' own builders, and the builder that asks the right one.
const BuilderTable& IntegerBuilders();
const BuilderTable& FloatBuilders();
const BuilderTable& HalfBuilders();
void BuildByType(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

inline bool IsHalf(Type type) {
  return type == Type::kF16 || type == Type::kF16x2 || type == Type::kBF16 || type == Type::kBF16x2;
}

}  // namespace softgpu
