// f16, f16x2, bf16, bf16x2: add, sub, mul, fma, min, max, neg, abs, ex2, tanh. The halves of a warp
// are one array of 32 or 64 words; arithmetic is done in f32 and rounded once (see half.h).
#include <type_traits>

#include "tests/softgpu/machine/approximations.h"
#include "tests/softgpu/machine/half.h"
#include "tests/softgpu/machine/minmax.h"
#include "tests/softgpu/machine/rounding.h"

namespace softgpu {
namespace {

enum class After : uint8_t { kNothing, kSat, kRelu };

template <After kAfter>
float Finish(float x) {
  if constexpr (kAfter == After::kSat) return x > 0 ? (x < 1 ? x : 1.0f) : 0.0f;  // NaN: 0
  if constexpr (kAfter == After::kRelu) return x <= 0 ? 0.0f : x;
  return x;
}

template <class Format, int n, bool kFtz>
void LoadSource(const Warp& w, Ref r, float* x, uint8_t* shadow) {
  uint16_t h[n];
  std::memcpy(h, Slot(w, r), sizeof(h));
  if constexpr (kFtz) {
    for (int k = 0; k < n; ++k) h[k] = FlushHalf<Format>(h[k]);
  }
  Format::template Load<n>(h, x);
  Mix(Shadow(w, r, n / 16), shadow);
}
// n: 32 halves, or 64 in pairs.
template <int n>
void StoreHalves(Warp& w, Ref r, const uint16_t* h, uint8_t* shadow) {
  using Lane = std::conditional_t<n == kLanes, uint16_t, uint32_t>;
  Lane d[kLanes];
  std::memcpy(d, h, sizeof(d));
  if constexpr (n == kLanes) {
    Spread(shadow, ShadowAll(2));
  } else {
    SpreadHalves(shadow);
  }
  Put(w, r, d);
  PutShadow(w, r, sizeof(Lane), shadow);
}

// d = F of the sources in the arithmetic of the format.
template <class Format, int n, After kAfter, int kSources, auto F>
void Compute(const float (&x)[kSources][n], float* d) {
  for (int k = 0; k < n; ++k) {
    if constexpr (kSources == 1) d[k] = Finish<kAfter>(F(Format{}, x[0][k]));
    if constexpr (kSources == 2) d[k] = Finish<kAfter>(F(Format{}, x[0][k], x[1][k]));
    if constexpr (kSources == 3) d[k] = Finish<kAfter>(F(Format{}, x[0][k], x[1][k], x[2][k]));
  }
}

template <class Format, int n, bool kFtz, After kAfter, int kSources, auto F>
void RunHalf(Warp& w, const Inst& i) {
  float x[kSources][n], d[n];
  uint16_t h[n];
  uint8_t shadow[kLanes] = {};
  for (int k = 0; k < kSources; ++k) {
    LoadSource<Format, n, kFtz>(w, i.r[k + 1], x[k], shadow);
  }
  if constexpr (std::is_same_v<Format, BF16> && kSources >= 2) {
    if (BF16InRange::Holds<n>(x[0], x[1])) {
      Compute<BF16InRange, n, kAfter, kSources, F>(x, d);
    } else {
      Compute<BF16, n, kAfter, kSources, F>(x, d);
    }
  } else {
    Compute<Format, n, kAfter, kSources, F>(x, d);
  }
  Format::template Store<n>(d, h);
  if constexpr (kFtz) {
    for (int k = 0; k < n; ++k) h[k] = FlushHalf<Format>(h[k]);
  }
  StoreHalves<n>(w, i.r[0], h, shadow);
}

// Signs are bits: F on the words themselves.
template <class Format, int n, bool kFtz, auto F>
void RunSign(Warp& w, const Inst& i) {
  uint16_t h[n];
  uint8_t shadow[kLanes];
  std::memcpy(h, Slot(w, i.r[1]), sizeof(h));
  std::memcpy(shadow, Shadow(w, i.r[1], n / 16), kLanes);
  for (int k = 0; k < n; ++k) {
    const uint16_t x = kFtz ? FlushHalf<Format>(h[k]) : h[k];
    const bool number = (x & 0x7fff) <= Format::kExponent;
    h[k] = static_cast<uint16_t>(number ? F(x) : Format::kNan);
  }
  StoreHalves<n>(w, i.r[0], h, shadow);
}

bool IsPair(Type type) { return type == Type::kF16x2 || type == Type::kBF16x2; }
bool IsBf16(Type type) { return type == Type::kBF16 || type == Type::kBF16x2; }

// The executor of F for the type. Only f16 has .ftz and .sat.
template <int kSources, auto F, bool kFtz, After kAfter>
Exec PickFlagged(Type type) {
  if (IsBf16(type)) {
    return IsPair(type) ? RunHalf<BF16, 2 * kLanes, kFtz, kAfter, kSources, F>
                        : RunHalf<BF16, kLanes, kFtz, kAfter, kSources, F>;
  }
  return IsPair(type) ? RunHalf<F16, 2 * kLanes, kFtz, kAfter, kSources, F>
                      : RunHalf<F16, kLanes, kFtz, kAfter, kSources, F>;
}
template <int kSources, auto F>
Exec PickHalf(Type type, bool ftz, After after) {
  switch (after) {
    case After::kSat:
      return ftz ? PickFlagged<kSources, F, true, After::kSat>(type)
                 : PickFlagged<kSources, F, false, After::kSat>(type);
    case After::kRelu:
      return ftz ? PickFlagged<kSources, F, true, After::kRelu>(type)
                 : PickFlagged<kSources, F, false, After::kRelu>(type);
    default:
      return ftz ? PickFlagged<kSources, F, true, After::kNothing>(type)
                 : PickFlagged<kSources, F, false, After::kNothing>(type);
  }
}

void Complete(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
              Type type, int sources, int flops) {
  words.Finish();
  inst.klass = InstClass::kHalf;
  inst.flops = static_cast<uint8_t>(IsPair(type) ? 2 * flops : flops);
  if (sources == 1) SetOperands(instruction, decoder, inst, {type, type});
  if (sources == 2) SetOperands(instruction, decoder, inst, {type, type, type});
  if (sources == 3) SetOperands(instruction, decoder, inst, {type, type, type, type});
}

template <auto F>
void BuildSum(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  words.Take("rn");
  const bool ftz = words.Take("ftz"), sat = words.Take("sat");
  const Type type = words.TakeType();
  if (IsBf16(type) && (ftz || sat)) words.Refuse(".ftz and .sat are for .f16");
  if (IsBf16(type) && decoder.target() < 90) words.Refuse("needs sm_90");
  inst.exec = PickHalf<2, F>(type, ftz, sat ? After::kSat : After::kNothing);
  Complete(instruction, decoder, inst, words, type, 2, 1);
}

void BuildFma(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("rn")) words.Refuse("needs .rn");
  const bool ftz = words.Take("ftz"), sat = words.Take("sat"), relu = words.Take("relu");
  const Type type = words.TakeType();
  if (sat && relu) words.Refuse("takes .sat or .relu");
  if (IsBf16(type) && (ftz || sat)) words.Refuse(".ftz and .sat are for .f16");
  inst.exec = PickHalf<3, [](auto f, float a, float b, float c) { return f.Fma(a, b, c); }>(
      type, ftz,
      sat    ? After::kSat
      : relu ? After::kRelu
             : After::kNothing);
  Complete(instruction, decoder, inst, words, type, 3, 2);
}

template <bool kMax, bool kNan, bool kXorSign>
constexpr auto kMinMax = [](auto, float a, float b) { return MinMax<kMax, kNan, kXorSign>(a, b); };
template <bool kMax>
void BuildMinMax(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool ftz = words.Take("ftz"), nan = words.Take("NaN"), xor_sign = words.Take("xorsign");
  if (xor_sign && !words.Take("abs")) words.Refuse(".xorsign comes with .abs");
  const Type type = words.TakeType();
  if (IsBf16(type) && ftz) words.Refuse(".ftz is for .f16");
  if (xor_sign && decoder.target() < 90) words.Refuse(".xorsign needs sm_86");
  constexpr After kNothing = After::kNothing;
  inst.exec = nan        ? xor_sign ? PickHalf<2, kMinMax<kMax, true, true>>(type, ftz, kNothing)
                                    : PickHalf<2, kMinMax<kMax, true, false>>(type, ftz, kNothing)
                     : xor_sign ? PickHalf<2, kMinMax<kMax, false, true>>(type, ftz, kNothing)
                         : PickHalf<2, kMinMax<kMax, false, false>>(type, ftz, kNothing);
  Complete(instruction, decoder, inst, words, type, 2, 0);
}

template <class Format, bool kFtz, auto F>
Exec SignOf(Type type) {
  return IsPair(type) ? RunSign<Format, 2 * kLanes, kFtz, F> : RunSign<Format, kLanes, kFtz, F>;
}
template <auto F>
void BuildSign(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool ftz = words.Take("ftz");
  const Type type = words.TakeType();
  if (IsBf16(type) && ftz) words.Refuse(".ftz is for .f16");
  inst.exec = IsBf16(type) ? SignOf<BF16, false, F>(type)
              : ftz        ? SignOf<F16, true, F>(type)
                           : SignOf<F16, false, F>(type);
  Complete(instruction, decoder, inst, words, type, 1, 0);
}

template <auto F, bool kBf16Flushes>
void BuildFunction(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  if (!words.Take("approx")) words.Refuse("needs .approx");
  const bool ftz = words.Take("ftz");
  const Type type = words.TakeType();
  if (ftz != (kBf16Flushes && IsBf16(type))) words.Refuse(ftz ? "takes no .ftz" : "needs .ftz");
  if (IsBf16(type) && decoder.target() < 90) words.Refuse("needs sm_90");
  inst.exec = PickHalf<1, F>(type, ftz, After::kNothing);
  Complete(instruction, decoder, inst, words, type, 1, 1);
  inst.klass = InstClass::kSpecialFunction;
}

}  // namespace

const BuilderTable& HalfBuilders() {
  static const BuilderTable table = {
      {"add", BuildSum<[](auto f, float a, float b) { return f.Add(a, b); }>},
      {"sub", BuildSum<[](auto f, float a, float b) { return f.Add(a, -b); }>},
      {"mul", BuildSum<[](auto f, float a, float b) { return f.Mul(a, b); }>},
      {"fma", BuildFma},
      {"min", BuildMinMax<false>},
      {"max", BuildMinMax<true>},
      {"neg", BuildSign<[](unsigned x) { return x ^ 0x8000u; }>},
      {"abs", BuildSign<[](unsigned x) { return x & 0x7fffu; }>},
      {"ex2", BuildFunction<[](auto, float a) { return static_cast<float>(Exp2(a)); }, true>},
      {"tanh", BuildFunction<[](auto, float a) { return static_cast<float>(Tanh(a)); }, false>},
  };
  return table;
}

}  // namespace softgpu
