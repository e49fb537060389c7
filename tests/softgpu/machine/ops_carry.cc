// Extended precision: add.cc, addc, sub.cc, subc, mad.cc, madc. The carry flag (of a subtraction:
// the borrow) is a slot of the frame, made for the first such instruction of a function.
#include <type_traits>

#include "tests/softgpu/machine/ops_integer.h"

namespace softgpu {
namespace {

enum class Form : uint8_t { kAdd, kSub, kMadLow, kMadHigh };

template <class T>
T ProductPart(bool high, T a, T b) {
  using U = std::make_unsigned_t<T>;
  if (!high) return static_cast<T>(static_cast<U>(a) * static_cast<U>(b));
  using Wide =
      std::conditional_t<sizeof(T) == 4, std::conditional_t<std::is_signed_v<T>, int64_t, uint64_t>,
                         std::conditional_t<std::is_signed_v<T>, __int128, unsigned __int128>>;
  return static_cast<T>(static_cast<Wide>(a) * static_cast<Wide>(b) >> (8 * sizeof(T)));
}

// r: d, a, b(, c), then the carry. kIn: it is added (or taken away), kOut: it is set.
template <class T, Form kForm, bool kIn, bool kOut>
void RunCarry(Warp& w, const Inst& i) {
  using U = std::make_unsigned_t<T>;
  constexpr bool kMad = kForm == Form::kMadLow || kForm == Form::kMadHigh;
  constexpr int kCarry = kMad ? 4 : 3;
  const T* a = Get<T>(w, i.r[1]);
  const T* b = Get<T>(w, i.r[2]);
  const T* c = kMad ? Get<T>(w, i.r[3]) : b;
  const uint32_t* carry = Get<uint32_t>(w, i.r[kCarry]);
  U d[kLanes];
  uint32_t out[kLanes];
  for (int l = 0; l < kLanes; ++l) {
    const U x = kMad ? static_cast<U>(ProductPart<T>(kForm == Form::kMadHigh, a[l], b[l]))
                     : static_cast<U>(a[l]);
    const U y = static_cast<U>(c[l]);
    const U in = kIn ? static_cast<U>(carry[l]) : U{0};
    if constexpr (kForm == Form::kSub) {
      const U first = x - y;
      d[l] = first - in;
      out[l] = static_cast<uint32_t>(x < y) | static_cast<uint32_t>(first < in);
    } else {
      const U first = x + y;
      d[l] = first + in;
      out[l] = static_cast<uint32_t>(first < x) | static_cast<uint32_t>(d[l] < first);
    }
  }
  uint8_t mixed[kLanes], shadow[kLanes];
  MixAndSpread(0xff, mixed, Shadow(w, i.r[1], sizeof(T)), Shadow(w, i.r[2], sizeof(T)),
               Shadow(w, i.r[kMad ? 3 : 2], sizeof(T)),
               kIn ? Shadow(w, i.r[kCarry], 4) : Shadow(w, i.r[1], sizeof(T)));
  MixAndSpread(ShadowAll(sizeof(T)), shadow, mixed);
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], sizeof(T), shadow);
  if (kOut) {
    MixAndSpread(ShadowAll(4), shadow, mixed);
    Put(w, i.r[kCarry], out);
    PutShadow(w, i.r[kCarry], 4, shadow);
  }
}

template <class T, Form kForm>
Exec PickFlags(bool in, bool out) {
  if (in) return out ? RunCarry<T, kForm, true, true> : RunCarry<T, kForm, true, false>;
  return RunCarry<T, kForm, false, true>;
}
// Signs matter to the upper part of a product only.
template <Form kForm>
Exec Pick(Type type, bool in, bool out) {
  constexpr bool kSigned = kForm == Form::kMadHigh;
  switch (type) {
    case Type::kU32:
      return PickFlags<uint32_t, kForm>(in, out);
    case Type::kU64:
      return PickFlags<uint64_t, kForm>(in, out);
    case Type::kS32:
      return PickFlags<std::conditional_t<kSigned, int32_t, uint32_t>, kForm>(in, out);
    case Type::kS64:
      return PickFlags<std::conditional_t<kSigned, int64_t, uint64_t>, kForm>(in, out);
    default:
      return nullptr;
  }
}

void Build(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, bool in) {
  Words words(instruction);
  const char name = instruction.words[0][0];  // add, sub, mad
  const int part = name == 'm' ? words.TakeOneOf({"lo", "hi"}) : -1;
  const bool out = words.Take("cc");
  const Type type = words.TakeType();
  words.Finish();
  if (name == 'm') {
    if (part < 0) words.Refuse("needs .lo or .hi");
    inst.exec =
        part == 0 ? Pick<Form::kMadLow>(type, in, out) : Pick<Form::kMadHigh>(type, in, out);
  } else {
    inst.exec = name == 'a' ? Pick<Form::kAdd>(type, in, out) : Pick<Form::kSub>(type, in, out);
  }
  if (inst.exec == nullptr) words.Refuse("there is no such operation on this type");
  inst.klass = InstClass::kInteger;
  Ref& carry = decoder.code().carry;
  if (carry == kNoRef) carry = decoder.Scratch(4);
  if (name == 'm') {
    SetOperands(instruction, decoder, inst, {type, type, type, type});
    inst.r[4] = carry;
  } else {
    SetOperands(instruction, decoder, inst, {type, type, type});
    inst.r[3] = carry;
  }
}

}  // namespace

void BuildCarryOut(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Build(instruction, decoder, inst, false);
}
void BuildCarryIn(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Build(instruction, decoder, inst, true);
}

}  // namespace softgpu
