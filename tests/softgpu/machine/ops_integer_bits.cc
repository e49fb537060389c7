// Counting, finding, reversing and extracting bits: popc, clz, bfind, brev, bfe, bfi, bmsk, szext,
// fns. Those that only move bits carry "never written" bit by bit.
#include <algorithm>
#include <bit>
#include <cstdlib>
#include <type_traits>

#include "tests/softgpu/machine/ops_integer.h"

namespace softgpu {
namespace {

template <class T>
T Reverse(T v) {
  using U = std::make_unsigned_t<T>;
  U x = v;
  constexpr U kAll = ~U{0};
  x = ((x >> 1) & (kAll / 3)) | ((x & (kAll / 3)) << 1);
  x = ((x >> 2) & (kAll / 5)) | ((x & (kAll / 5)) << 2);
  x = ((x >> 4) & (kAll / 17)) | ((x & (kAll / 17)) << 4);
  if constexpr (sizeof(T) == 4) {
    return __builtin_bswap32(x);
  } else {
    return __builtin_bswap64(x);
  }
}

// The position of the highest bit that differs from the sign; ~0: none. As a shift: how far left it
// can go.
template <class T, bool kShiftAmount>
uint32_t FindBit(T a) {
  using U = std::make_unsigned_t<T>;
  const U v = static_cast<U>(a < 0 ? ~a : a);
  const auto zeros = static_cast<uint32_t>(std::countl_zero(v));
  constexpr uint32_t kBits = 8 * sizeof(T);
  if (v == 0) return 0xffffffffu;
  return kShiftAmount ? zeros : kBits - 1 - zeros;
}

// Bits pos .. pos+len-1 of a; above them zeros or copies of the top bit of the field (of a, where
// the field goes past its end). Only the low 8 bits of pos and len count.
template <class T>
T Extract(T a, uint32_t pos_word, uint32_t len_word) {
  using U = std::make_unsigned_t<T>;
  constexpr uint32_t kBits = 8 * sizeof(T);
  const uint32_t pos = pos_word & 0xff;
  const uint32_t len = len_word & 0xff;
  const U bits = static_cast<U>(a);
  const U moved = pos < kBits ? static_cast<U>(bits >> (pos & (kBits - 1))) : U{0};
  const U field = len < kBits ? static_cast<U>((U{1} << (len & (kBits - 1))) - 1) : ~U{0};
  U result = moved & field;
  if constexpr (std::is_signed_v<T>) {
    const uint32_t top = std::min(pos + len - 1, kBits - 1) & (kBits - 1);  // len 0: result is 0
    const U sign = len == 0 ? U{0} : static_cast<U>(0 - ((bits >> top) & 1));
    // Bits of the field that lie past a's end, and those above the field.
    const uint32_t inside = pos < kBits ? std::min(len, kBits - pos) : 0;
    const U present = inside < kBits ? static_cast<U>((U{1} << (inside & (kBits - 1))) - 1) : ~U{0};
    result |= sign & ~present;
  }
  return static_cast<T>(result);
}

template <class T>
T Insert(T a, T b, uint32_t pos_word, uint32_t len_word) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  const uint32_t pos = pos_word & 0xff;
  const uint32_t len = len_word & 0xff;
  const T field = len < kBits ? static_cast<T>((T{1} << (len & (kBits - 1))) - 1) : ~T{0};
  const T mask = pos < kBits ? static_cast<T>(field << (pos & (kBits - 1))) : T{0};
  return (b & ~mask) | (pos < kBits ? static_cast<T>(a << (pos & (kBits - 1))) & mask : T{0});
}

// .clamp: amounts above 32 are 32; .wrap: the low 5 bits count.
template <bool kClamp>
uint32_t BitMask32(uint32_t a, uint32_t b) {
  if constexpr (kClamp) {
    const uint64_t field = (uint64_t{1} << std::min(b, 32u)) - 1;
    return static_cast<uint32_t>(field << std::min(a, 32u));
  } else {
    return ((1u << (b & 31)) - 1) << (a & 31);
  }
}
template <class T, bool kClamp>
T SignZeroExtend(T a, uint32_t b) {
  const uint32_t n = kClamp ? std::min(b, 32u) : b & 31;
  if (n == 0) return 0;
  const uint32_t up = static_cast<uint32_t>(a) << (32 - n);
  return static_cast<T>(up) >> (32 - n);
}

// The position of the offset-th set bit of mask from bit base on, upwards or (offset < 0)
// downwards; offset 0: base itself, if it is set. ~0: there is none.
uint32_t FindNth(uint32_t mask, uint32_t base, int32_t offset) {
  if (base > 31) return 0xffffffffu;
  if (offset == 0) return (mask >> base) & 1 ? base : 0xffffffffu;
  const int step = offset > 0 ? 1 : -1;
  int64_t left = std::abs(static_cast<int64_t>(offset));
  for (int at = static_cast<int>(base); at >= 0 && at < 32; at += step) {
    if ((mask >> at) & 1 && --left == 0) return static_cast<uint32_t>(at);
  }
  return 0xffffffffu;
}

// b32 or b64 (or their signed and unsigned kin where listed).
Type TakeTypeOf(Words& words, std::initializer_list<Type> allowed) {
  const Type type = words.TakeType();
  words.Finish();
  if (std::find(allowed.begin(), allowed.end(), type) == allowed.end()) {
    words.Refuse("there is no such operation on this type");
  }
  return type;
}

// A count of bits: u32 of b32 or b64.
template <auto kCount>
void BuildCount(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = TakeTypeOf(words, {Type::kB32, Type::kB64});
  inst.exec =
      type == Type::kB32 ? Run1<kCount, uint32_t, uint32_t> : Run1<kCount, uint32_t, uint64_t>;
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {Type::kU32, type});
}

}  // namespace

void BuildPopc(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildCount<[](auto a) { return static_cast<uint32_t>(std::popcount(a)); }>(instruction, decoder,
                                                                             inst);
}

void BuildClz(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildCount<[](auto a) { return static_cast<uint32_t>(std::countl_zero(a)); }>(instruction,
                                                                                decoder, inst);
}

void BuildBfind(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool shift = words.Take("shiftamt");
  const Type type = TakeTypeOf(words, {Type::kU32, Type::kS32, Type::kU64, Type::kS64});
  const auto pick = [&]<class T>(T) {
    return shift ? Exec{Run1<FindBit<T, true>, uint32_t, T>}
                 : Exec{Run1<FindBit<T, false>, uint32_t, T>};
  };
  inst.exec = type == Type::kU32   ? pick(uint32_t{})
              : type == Type::kS32 ? pick(int32_t{})
              : type == Type::kU64 ? pick(uint64_t{})
                                   : pick(int64_t{});
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {Type::kU32, type});
}

void BuildBrev(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = TakeTypeOf(words, {Type::kB32, Type::kB64});
  inst.exec = type == Type::kB32 ? RunMove<Reverse<uint32_t>, 1, uint32_t, uint32_t>
                                 : RunMove<Reverse<uint64_t>, 1, uint64_t, uint64_t>;
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type});
}

void BuildBfe(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = TakeTypeOf(words, {Type::kU32, Type::kS32, Type::kU64, Type::kS64});
  const auto pick = []<class T>(T) {
    return Exec{RunMove<Extract<T>, 1, T, T, uint32_t, uint32_t>};
  };
  inst.exec = type == Type::kU32   ? pick(uint32_t{})
              : type == Type::kS32 ? pick(int32_t{})
              : type == Type::kU64 ? pick(uint64_t{})
                                   : pick(int64_t{});
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type, Type::kU32, Type::kU32});
}

void BuildBfi(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = TakeTypeOf(words, {Type::kB32, Type::kB64});
  using U = uint32_t;
  using L = uint64_t;
  inst.exec = type == Type::kB32 ? RunMove<Insert<U>, 2, U, U, U, U, U>
                                 : RunMove<Insert<L>, 2, L, L, L, U, U>;
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type, type, Type::kU32, Type::kU32});
}

void BuildBmsk(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"clamp", "wrap"});
  if (mode < 0) words.Refuse("needs .clamp or .wrap");
  TakeTypeOf(words, {Type::kB32});
  inst.exec = mode == 0 ? Run2<BitMask32<true>, uint32_t, uint32_t, uint32_t>
                        : Run2<BitMask32<false>, uint32_t, uint32_t, uint32_t>;
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {Type::kB32, Type::kU32, Type::kU32});
}

void BuildSzext(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"clamp", "wrap"});
  if (mode < 0) words.Refuse("needs .clamp or .wrap");
  const Type type = TakeTypeOf(words, {Type::kU32, Type::kS32});
  using U = uint32_t;
  using S = int32_t;
  if (type == Type::kU32) {
    inst.exec = mode == 0 ? RunMove<SignZeroExtend<U, true>, 1, U, U, U>
                          : RunMove<SignZeroExtend<U, false>, 1, U, U, U>;
  } else {
    inst.exec = mode == 0 ? RunMove<SignZeroExtend<S, true>, 1, S, S, U>
                          : RunMove<SignZeroExtend<S, false>, 1, S, S, U>;
  }
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type, Type::kU32});
}

void BuildFns(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  TakeTypeOf(words, {Type::kB32});
  inst.exec = Run3<FindNth, uint32_t, uint32_t, uint32_t, int32_t>;
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {Type::kB32, Type::kB32, Type::kB32, Type::kS32});
}

}  // namespace softgpu
