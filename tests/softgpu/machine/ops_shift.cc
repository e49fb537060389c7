// Shifts and byte permutes: shl, shr, shf, prmt. They move bits, and "never written" with them.
#include <algorithm>
#include <type_traits>

#include "tests/softgpu/machine/ops_logic.h"

namespace softgpu {
namespace {

// Amounts from the width on leave zeros, or copies of the sign.
template <class T>
T ShiftLeft(T a, uint32_t n) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  using Wide = std::conditional_t<sizeof(T) == 2, uint32_t, T>;
  return n < kBits ? static_cast<T>(static_cast<Wide>(a) << (n & (kBits - 1))) : T{0};
}
template <class T>
T ShiftRight(T a, uint32_t n) {
  constexpr uint32_t kBits = 8 * sizeof(T);
  if constexpr (std::is_signed_v<T>) {
    return static_cast<T>(a >> std::min(n, kBits - 1));
  } else {
    return n < kBits ? static_cast<T>(a >> (n & (kBits - 1))) : T{0};
  }
}

// shf: the 64-bit value b:a, shifted; the upper half (left) or the lower half (right) of it.
template <bool kClamp>
uint32_t Amount(uint32_t n) {
  return kClamp ? std::min(n, 32u) : n & 31;
}
template <bool kClamp>
uint32_t FunnelLeft(uint32_t a, uint32_t b, uint32_t n) {
  const uint64_t both = uint64_t{b} << 32 | a;
  return static_cast<uint32_t>(both << Amount<kClamp>(n) >> 32);
}
template <bool kClamp>
uint32_t FunnelRight(uint32_t a, uint32_t b, uint32_t n) {
  const uint64_t both = uint64_t{b} << 32 | a;
  return static_cast<uint32_t>(both >> Amount<kClamp>(n));
}

// Byte k of the result: byte (selector & 7) of b:a, or with bit 3 set copies of its top bit.
uint32_t Permute(uint32_t a, uint32_t b, uint32_t selectors) {
  uint32_t result = 0;
  for (int k = 0; k < 4; ++k) {
    const uint32_t selector = (selectors >> (4 * k)) & 15;
    const uint32_t byte = ((selector & 4 ? b : a) >> (8 * (selector & 3))) & 0xff;
    const uint32_t sign = (0 - (byte >> 7)) & 0xff;
    result |= (selector & 8 ? sign : byte) << (8 * k);
  }
  return result;
}
// The other modes, as the selectors that do the same.
constexpr uint16_t kPermuteModes[6][4] = {
    {0x3210, 0x4321, 0x5432, 0x6543},  // f4e
    {0x5670, 0x6701, 0x7012, 0x0123},  // b4e
    {0x0000, 0x1111, 0x2222, 0x3333},  // rc8
    {0x3210, 0x3211, 0x3222, 0x3333},  // ecl
    {0x0000, 0x1110, 0x2210, 0x3210},  // ecr
    {0x1010, 0x3232, 0x1010, 0x3232},  // rc16
};
template <int kMode>
uint32_t PermuteMode(uint32_t a, uint32_t b, uint32_t c) {
  constexpr const uint16_t(&kModes)[4] = kPermuteModes[kMode];
  const uint32_t low = c & 1 ? kModes[1] : kModes[0], high = c & 1 ? kModes[3] : kModes[2];
  return Permute(a, b, c & 2 ? high : low);
}

template <auto F>
constexpr Exec kMoveTwo = RunMove<F, 2, uint32_t, uint32_t, uint32_t, uint32_t>;

template <class T>
constexpr Exec kShiftLeft = RunMove<ShiftLeft<T>, 1, T, T, uint32_t>;
template <class T>
constexpr Exec kShiftRight = RunMove<ShiftRight<T>, 1, T, T, uint32_t>;

}  // namespace

void BuildShl(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  words.Finish();
  inst.exec = type == Type::kB16   ? kShiftLeft<uint16_t>
              : type == Type::kB32 ? kShiftLeft<uint32_t>
              : type == Type::kB64 ? kShiftLeft<uint64_t>
                                   : nullptr;
  if (inst.exec == nullptr) words.Refuse("is for .b16, .b32 and .b64");
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type, Type::kU32});
}

void BuildShr(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  words.Finish();
  switch (type) {
    case Type::kB16:
    case Type::kU16:
      inst.exec = kShiftRight<uint16_t>;
      break;
    case Type::kB32:
    case Type::kU32:
      inst.exec = kShiftRight<uint32_t>;
      break;
    case Type::kB64:
    case Type::kU64:
      inst.exec = kShiftRight<uint64_t>;
      break;
    case Type::kS16:
      inst.exec = kShiftRight<int16_t>;
      break;
    case Type::kS32:
      inst.exec = kShiftRight<int32_t>;
      break;
    case Type::kS64:
      inst.exec = kShiftRight<int64_t>;
      break;
    default:
      words.Refuse("is for integers of 16, 32 and 64 bits");
  }
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type, Type::kU32});
}

void BuildShf(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int direction = words.TakeOneOf({"l", "r"});
  const int mode = words.TakeOneOf({"clamp", "wrap"});
  if (direction < 0 || mode < 0) words.Refuse("needs .l or .r, and .clamp or .wrap");
  if (words.TakeType() != Type::kB32) words.Refuse("is for .b32");
  words.Finish();
  constexpr Exec kExecs[2][2] = {{kMoveTwo<FunnelLeft<true>>, kMoveTwo<FunnelLeft<false>>},
                                 {kMoveTwo<FunnelRight<true>>, kMoveTwo<FunnelRight<false>>}};
  inst.exec = kExecs[direction][mode];
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {Type::kB32, Type::kB32, Type::kB32, Type::kU32});
}

void BuildPrmt(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (words.TakeType() != Type::kB32) words.Refuse("is for .b32");
  const int mode = words.TakeOneOf({"f4e", "b4e", "rc8", "ecl", "ecr", "rc16"});
  words.Finish();
  constexpr Exec kModes[] = {kMoveTwo<PermuteMode<0>>, kMoveTwo<PermuteMode<1>>,
                             kMoveTwo<PermuteMode<2>>, kMoveTwo<PermuteMode<3>>,
                             kMoveTwo<PermuteMode<4>>, kMoveTwo<PermuteMode<5>>};
  inst.exec = mode < 0 ? kMoveTwo<Permute> : kModes[mode];
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {Type::kB32, Type::kB32, Type::kB32, Type::kU32});
}

}  // namespace softgpu
