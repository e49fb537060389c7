// Integer products: mul and mad with .lo, .hi, .wide, their 24-bit kin, dp4a and dp2a.
#include <type_traits>

#include "tests/softgpu/machine/ops_integer.h"

namespace softgpu {
namespace {

template <class T>
struct WideOf;
template <>
struct WideOf<uint16_t> {
  using type = uint32_t;
};
template <>
struct WideOf<int16_t> {
  using type = int32_t;
};
template <>
struct WideOf<uint32_t> {
  using type = uint64_t;
};
template <>
struct WideOf<int32_t> {
  using type = int64_t;
};
template <>
struct WideOf<uint64_t> {
  using type = unsigned __int128;
};
template <>
struct WideOf<int64_t> {
  using type = __int128;
};
template <class T>
using Wide = typename WideOf<T>::type;

template <class T>
Wide<T> Product(T a, T b) {
  return static_cast<Wide<T>>(a) * static_cast<Wide<T>>(b);
}
template <class T>
T Low(T a, T b) {  // in unsigned arithmetic of at least 32 bits: wraps, and vectorises
  using U = std::make_unsigned_t<std::conditional_t<sizeof(T) == 2, uint32_t, T>>;
  return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
}
template <class T>
T High(T a, T b) {
  return static_cast<T>(Product(a, b) >> (8 * sizeof(T)));
}
template <class T>
T Plus(T a, T b) {
  using U = std::make_unsigned_t<T>;
  return static_cast<T>(static_cast<U>(a) + static_cast<U>(b));
}

// The type of twice the width; kNone: there is none.
Type WideType(Type type) {
  switch (type) {
    case Type::kU16:
      return Type::kU32;
    case Type::kS16:
      return Type::kS32;
    case Type::kU32:
      return Type::kU64;
    case Type::kS32:
      return Type::kS64;
    default:
      return Type::kNone;
  }
}

template <class T>
Wide<T> MulWide(T a, T b) {
  return Product(a, b);
}
template <class T>
Wide<T> MadWide(T a, T b, Wide<T> c) {
  return Plus(Product(a, b), c);
}
template <class T>
constexpr Exec kMulWide = Run2<MulWide<T>, Wide<T>, T, T>;
template <class T>
constexpr Exec kMadWide = Run3<MadWide<T>, Wide<T>, T, T, Wide<T>>;

Exec MulWideOf(Type type) {
  return type == Type::kU16   ? kMulWide<uint16_t>
         : type == Type::kS16 ? kMulWide<int16_t>
         : type == Type::kU32 ? kMulWide<uint32_t>
                              : kMulWide<int32_t>;
}
Exec MadWideOf(Type type) {
  return type == Type::kU16   ? kMadWide<uint16_t>
         : type == Type::kS16 ? kMadWide<int16_t>
         : type == Type::kU32 ? kMadWide<uint32_t>
                              : kMadWide<int32_t>;
}

// The 48-bit product of the low 24 bits, and its parts.
template <class T>
Wide<T> Product24(T a, T b) {
  if constexpr (std::is_signed_v<T>) {
    const auto sign_extend = [](int32_t v) {
      return static_cast<int32_t>(static_cast<uint32_t>(v) << 8) >> 8;
    };
    return Product(sign_extend(a), sign_extend(b));
  } else {
    return Product(a & 0xffffffu, b & 0xffffffu);
  }
}
template <class T>
T Low24(T a, T b) {
  return static_cast<T>(Product24(a, b));
}
template <class T>
T High24(T a, T b) {
  return static_cast<T>(Product24(a, b) >> 16);
}
constexpr Exec kMul24[2][2] = {{Run2<Low24<uint32_t>, uint32_t, uint32_t, uint32_t>,
                                Run2<High24<uint32_t>, uint32_t, uint32_t, uint32_t>},
                               {Run2<Low24<int32_t>, int32_t, int32_t, int32_t>,
                                Run2<High24<int32_t>, int32_t, int32_t, int32_t>}};
int32_t PlusSaturated(int32_t a, int32_t b) {
  const int64_t sum = int64_t{a} + b;
  return static_cast<int32_t>(sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : sum);
}

template <class A, class B>
uint32_t Dot4(uint32_t a, uint32_t b, uint32_t c) {
  for (int k = 0; k < 4; ++k) {
    c += static_cast<uint32_t>(static_cast<int32_t>(static_cast<A>((a >> (8 * k)) & 0xff)) *
                               static_cast<int32_t>(static_cast<B>((b >> (8 * k)) & 0xff)));
  }
  return c;
}
// a: two 16-bit values, b: the two bytes from its bit kShift on.
template <class A, class B, int kShift>
uint32_t Dot2(uint32_t a, uint32_t b, uint32_t c) {
  for (int k = 0; k < 2; ++k) {
    const uint32_t x = static_cast<uint32_t>(static_cast<A>((a >> (16 * k)) & 0xffff));
    const uint32_t y = static_cast<uint32_t>(static_cast<B>((b >> (kShift + 8 * k)) & 0xff));
    c += x * y;
  }
  return c;
}
template <auto F>
constexpr Exec kTernary32 = Run3<F, uint32_t, uint32_t, uint32_t, uint32_t>;

// The words and operands of mul24 and mad24.
Type Take24(Words& words) {
  const Type type = words.TakeType();
  if (type != Type::kU32 && type != Type::kS32) words.Refuse("is for .u32 and .s32");
  words.Finish();
  return type;
}
// Two 32-bit types of dp4a and dp2a, as 0..3: signed a + 2 * signed b.
int TakeDotTypes(Words& words, const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  const Type a = words.TakeType();
  const Type b = words.TakeType();
  for (const Type type : {a, b}) {
    if (type != Type::kU32 && type != Type::kS32) words.Refuse("is for .u32 and .s32");
  }
  words.Finish();
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {Type::kB32, Type::kB32, Type::kB32, Type::kB32});
  return (a == Type::kS32 ? 1 : 0) + (b == Type::kS32 ? 2 : 0);
}

}  // namespace

void BuildMul(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"lo", "hi", "wide"});
  const Type type = words.TakeType();
  words.Finish();
  Type to = type;
  if (mode == 0) {
    inst.exec = SameInteger2<[](auto a, auto b) { return Low(a, b); }>(type);
  } else if (mode == 1) {
    inst.exec = SameInteger2<[](auto a, auto b) { return High(a, b); }>(type);
  } else if (mode == 2 && WideType(type) != Type::kNone) {
    inst.exec = MulWideOf(type);
    to = WideType(type);
  }
  if (inst.exec == nullptr) words.Refuse("needs .lo, .hi or .wide and a fitting integer type");
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {to, type, type});
}

void BuildMad(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"lo", "hi", "wide"});
  if (words.Peek() == "cc") return BuildCarryOut(instruction, decoder, inst);
  const bool saturate = words.Take("sat");
  const Type type = words.TakeType();
  words.Finish();
  Type to = type;
  if (saturate) {
    if (mode != 1 || type != Type::kS32) words.Refuse(".sat is for mad.hi.s32");
    inst.exec = Run3<[](int32_t a, int32_t b, int32_t c) { return PlusSaturated(High(a, b), c); },
                     int32_t, int32_t, int32_t, int32_t>;
  } else if (mode == 0) {
    inst.exec = SameInteger3<[](auto a, auto b, auto c) { return Plus(Low(a, b), c); }>(type);
  } else if (mode == 1) {
    inst.exec = SameInteger3<[](auto a, auto b, auto c) { return Plus(High(a, b), c); }>(type);
  } else if (mode == 2 && WideType(type) != Type::kNone) {
    inst.exec = MadWideOf(type);
    to = WideType(type);
  }
  if (inst.exec == nullptr) words.Refuse("needs .lo, .hi or .wide and a fitting integer type");
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {to, type, type, to});
}

void BuildMul24(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"lo", "hi"});
  if (mode < 0) words.Refuse("needs .lo or .hi");
  const Type type = Take24(words);
  inst.exec = kMul24[type == Type::kS32][mode];
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type, type});
}

void BuildMad24(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"lo", "hi"});
  if (mode < 0) words.Refuse("needs .lo or .hi");
  const bool saturate = words.Take("sat");
  const Type type = Take24(words);
  const bool is_signed = type == Type::kS32;
  using I = int32_t;
  using U = uint32_t;
  if (saturate) {
    if (mode != 1 || !is_signed) words.Refuse(".sat is for mad24.hi.s32");
    inst.exec = Run3<[](I a, I b, I c) { return PlusSaturated(High24(a, b), c); }, I, I, I, I>;
  } else if (mode == 0) {
    inst.exec = is_signed ? Run3<[](I a, I b, I c) { return Plus(Low24(a, b), c); }, I, I, I, I>
                          : Run3<[](U a, U b, U c) { return Plus(Low24(a, b), c); }, U, U, U, U>;
  } else {
    inst.exec = is_signed ? Run3<[](I a, I b, I c) { return Plus(High24(a, b), c); }, I, I, I, I>
                          : Run3<[](U a, U b, U c) { return Plus(High24(a, b), c); }, U, U, U, U>;
  }
  inst.klass = InstClass::kInteger;
  SetOperands(instruction, decoder, inst, {type, type, type, type});
}

void BuildDp4a(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  constexpr Exec kBySign[] = {kTernary32<Dot4<uint8_t, uint8_t>>, kTernary32<Dot4<int8_t, uint8_t>>,
                              kTernary32<Dot4<uint8_t, int8_t>>, kTernary32<Dot4<int8_t, int8_t>>};
  inst.exec = kBySign[TakeDotTypes(words, instruction, decoder, inst)];
}

void BuildDp2a(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int mode = words.TakeOneOf({"lo", "hi"});
  if (mode < 0) words.Refuse("needs .lo or .hi");
  constexpr Exec kBySign[2][4] = {
      {kTernary32<Dot2<uint16_t, uint8_t, 0>>, kTernary32<Dot2<int16_t, uint8_t, 0>>,
       kTernary32<Dot2<uint16_t, int8_t, 0>>, kTernary32<Dot2<int16_t, int8_t, 0>>},
      {kTernary32<Dot2<uint16_t, uint8_t, 16>>, kTernary32<Dot2<int16_t, uint8_t, 16>>,
       kTernary32<Dot2<uint16_t, int8_t, 16>>, kTernary32<Dot2<int16_t, int8_t, 16>>}};
  inst.exec = kBySign[mode][TakeDotTypes(words, instruction, decoder, inst)];
}

}  // namespace softgpu
