// Integer add, sub, div, rem, abs, neg, min, max, sad, and the table of the integer family. Sums
// are made in unsigned types, where wrapping is defined.
#include "tests/softgpu/machine/ops_integer.h"

#include <cmath>
#include <limits>
#include <type_traits>

namespace softgpu {
namespace {

template <class T>
using Unsigned = std::make_unsigned_t<T>;

template <class T>
T AddWrap(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) + static_cast<Unsigned<T>>(b));
}
template <class T>
T SubWrap(T a, T b) {
  return static_cast<T>(static_cast<Unsigned<T>>(a) - static_cast<Unsigned<T>>(b));
}
int32_t Clamp(int64_t v) {
  return static_cast<int32_t>(v > INT32_MAX ? INT32_MAX : v < INT32_MIN ? INT32_MIN : v);
}

// |a| as an unsigned number; and a's sign put on one.
template <class T>
Unsigned<T> Magnitude(T a) {
  return static_cast<Unsigned<T>>(a < 0 ? 0 - static_cast<Unsigned<T>>(a)
                                        : static_cast<Unsigned<T>>(a));
}

// Truncated quotient of 32-bit numbers by way of doubles, which vectorises: the rounded quotient of
// two such integers is never rounded up to an integer, as it differs from one by 1/b at least.
// Division by 0 is unspecified by the manual; all ones here, as sm_80 gives.
uint32_t Quotient32(uint32_t a, uint32_t b) {
  const double q = std::trunc(static_cast<double>(a) / static_cast<double>(b));
  const auto low = static_cast<uint32_t>(std::bit_cast<uint64_t>(q + 0x1p52));
  return b == 0 ? 0xffffffffu : low;
}
template <class T>
T Quotient(T a, T b) {
  if constexpr (sizeof(T) == 8) {
    if (b == 0) return static_cast<T>(-1);
    if constexpr (std::is_signed_v<T>) {
      if (b == -1) return SubWrap<T>(0, a);
    }
    return a / b;
  } else if constexpr (std::is_signed_v<T>) {
    const uint32_t q = Quotient32(Magnitude<int32_t>(a), Magnitude<int32_t>(b));
    const uint32_t negated = (a < 0) != (b < 0) ? 0 - q : q;
    return static_cast<T>(b == 0 ? 0xffffffffu : negated);
  } else {
    return static_cast<T>(Quotient32(a, b));
  }
}
template <class T>
T Remainder(T a, T b) {
  using Wide = std::conditional_t<sizeof(T) == 8, uint64_t, uint32_t>;
  const T q = Quotient(a, b);
  const T product = static_cast<T>(static_cast<Wide>(q) * static_cast<Wide>(b));
  return b == 0 ? static_cast<T>(-1) : SubWrap(a, product);
}

// 16-bit halves of 32-bit lanes, each on its own.
template <class Half, auto F>
uint32_t EachHalf(uint32_t a, uint32_t b) {
  const auto low = static_cast<uint16_t>(F(static_cast<Half>(a & 0xffff),  //
                                           static_cast<Half>(b & 0xffff)));
  const auto high = static_cast<uint16_t>(F(static_cast<Half>(a >> 16),  //
                                            static_cast<Half>(b >> 16)));
  return low | static_cast<uint32_t>(high) << 16;
}
template <auto F>
void RunHalves(Warp& w, const Inst& i) {
  const uint32_t* a = Get<uint32_t>(w, i.r[1]);
  const uint32_t* b = Get<uint32_t>(w, i.r[2]);
  uint32_t d[kLanes];
  for (int l = 0; l < kLanes; ++l) d[l] = F(a[l], b[l]);
  uint8_t s[kLanes];
  const uint8_t* x = Shadow(w, i.r[1], 4);
  const uint8_t* y = Shadow(w, i.r[2], 4);
  for (int l = 0; l < kLanes; ++l) s[l] = x[l] | y[l];
  SpreadHalves(s);
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, s);
}
template <auto F>
Exec Halves2(Type type) {
  if (type == Type::kU16x2) return RunHalves<EachHalf<uint16_t, F>>;
  if (type == Type::kS16x2) return RunHalves<EachHalf<int16_t, F>>;
  return nullptr;
}

// a - a is 0, whether a was written or not.
template <class T>
void RunZero(Warp& w, const Inst& i) {
  const T zero[kLanes] = {};
  Put(w, i.r[0], zero);
  ClearShadow(w, i.r[0], sizeof(T));
}

void Finish(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
            Exec exec, Type type, int sources) {
  words.Finish();
  if (exec == nullptr) words.Refuse("there is no such operation on this type");
  inst.exec = exec;
  inst.klass = InstClass::kInteger;
  if (sources == 1) SetOperands(instruction, decoder, inst, {type, type});
  if (sources == 2) SetOperands(instruction, decoder, inst, {type, type, type});
  if (sources == 3) SetOperands(instruction, decoder, inst, {type, type, type, type});
}

void RefuseHalvesBefore90(Words& words, Decoder& decoder, Type type) {
  if ((type == Type::kU16x2 || type == Type::kS16x2) && decoder.target() < 90) {
    words.Refuse("needs sm_90");
  }
}

void BuildAdd(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (words.Peek() == "cc") return BuildCarryOut(instruction, decoder, inst);
  const bool saturate = words.Take("sat");
  const Type type = words.TakeType();
  RefuseHalvesBefore90(words, decoder, type);
  Exec exec = SameInteger2<[](auto a, auto b) { return AddWrap(a, b); }>(type);
  if (exec == nullptr) exec = Halves2<[](auto a, auto b) { return a + b; }>(type);
  if (saturate) {
    if (type != Type::kS32) words.Refuse(".sat is for .s32");
    exec =
        Run2<[](int32_t a, int32_t b) { return Clamp(int64_t{a} + b); }, int32_t, int32_t, int32_t>;
  }
  Finish(instruction, decoder, inst, words, exec, type, 2);
}

void BuildSub(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (words.Peek() == "cc") return BuildCarryOut(instruction, decoder, inst);
  const bool saturate = words.Take("sat");
  const Type type = words.TakeType();
  Exec exec = SameInteger2<[](auto a, auto b) { return SubWrap(a, b); }>(type);
  if (saturate) {
    if (type != Type::kS32) words.Refuse(".sat is for .s32");
    exec =
        Run2<[](int32_t a, int32_t b) { return Clamp(int64_t{a} - b); }, int32_t, int32_t, int32_t>;
  }
  Finish(instruction, decoder, inst, words, exec, type, 2);
  if (inst.r[1] == inst.r[2]) {
    inst.exec = Bytes(type) == 2   ? RunZero<uint16_t>
                : Bytes(type) == 4 ? RunZero<uint32_t>
                                   : RunZero<uint64_t>;
  }
}

void BuildDiv(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  Finish(instruction, decoder, inst, words,
         SameInteger2<[](auto a, auto b) { return Quotient(a, b); }>(type), type, 2);
}

void BuildRem(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  Finish(instruction, decoder, inst, words,
         SameInteger2<[](auto a, auto b) { return Remainder(a, b); }>(type), type, 2);
}

void BuildAbs(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  if (!IsSigned(type)) words.Refuse("is for signed types");
  Finish(instruction, decoder, inst, words, SameInteger1<[]<class T>(T a) -> T {
           if constexpr (std::is_signed_v<T>) {
             return static_cast<T>(Magnitude(a));
           } else {
             return a;
           }
         }>(type),
         type, 1);
}

void BuildNeg(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  if (!IsSigned(type)) words.Refuse("is for signed types");
  Finish(instruction, decoder, inst, words,
         SameInteger1<[]<class T>(T a) { return SubWrap<T>(0, a); }>(type), type, 1);
}

template <auto F>
void BuildMinMax(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool relu = words.Take("relu");
  const Type type = words.TakeType();
  RefuseHalvesBefore90(words, decoder, type);
  Exec exec = SameInteger2<F>(type);
  if (exec == nullptr) exec = Halves2<F>(type);
  if (relu) {
    if (decoder.target() < 90) words.Refuse(".relu needs sm_90");
    constexpr auto kRelu = [](auto a, auto b) {
      const auto v = F(a, b);
      return v < 0 ? decltype(v){0} : v;
    };
    if (type == Type::kS32) {
      exec = Run2<kRelu, int32_t, int32_t, int32_t>;
    } else if (type == Type::kS16x2) {
      exec = RunHalves<EachHalf<int16_t, kRelu>>;
    } else {
      words.Refuse(".relu is for .s32 and .s16x2");
    }
  }
  Finish(instruction, decoder, inst, words, exec, type, 2);
}

void BuildSad(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const Type type = words.TakeType();
  Finish(instruction, decoder, inst, words, SameInteger3<[]<class T>(T a, T b, T c) {
           return AddWrap(c, a < b ? SubWrap(b, a) : SubWrap(a, b));
         }>(type),
         type, 3);
}

}  // namespace

const BuilderTable& IntegerBuilders() {
  static const BuilderTable table = {
      {"add", BuildAdd},
      {"sub", BuildSub},
      {"div", BuildDiv},
      {"rem", BuildRem},
      {"abs", BuildAbs},
      {"neg", BuildNeg},
      {"min", BuildMinMax<[](auto a, auto b) { return a < b ? a : b; }>},
      {"max", BuildMinMax<[](auto a, auto b) { return a < b ? b : a; }>},
      {"sad", BuildSad},
      {"mul", BuildMul},
      {"mad", BuildMad},
      {"mul24", BuildMul24},
      {"mad24", BuildMad24},
      {"dp4a", BuildDp4a},
      {"dp2a", BuildDp2a},
      {"popc", BuildPopc},
      {"clz", BuildClz},
      {"bfind", BuildBfind},
      {"brev", BuildBrev},
      {"bfe", BuildBfe},
      {"bfi", BuildBfi},
      {"bmsk", BuildBmsk},
      {"szext", BuildSzext},
      {"fns", BuildFns},
      {"addc", BuildCarryIn},
      {"subc", BuildCarryIn},
      {"madc", BuildCarryIn},
  };
  return table;
}

}  // namespace softgpu
