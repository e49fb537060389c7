// rcp, sqrt, rsqrt, sin, cos, lg2, ex2, tanh. The rounded forms are the processor's; the .approx
// forms, for which the manual gives error bounds, are computed in double precision and rounded.
#include "tests/softgpu/machine/approximations.h"
#include "tests/softgpu/machine/ops_float.h"

namespace softgpu {
namespace {

constexpr auto kRcp = [](auto a) { return 1 / a; };
constexpr auto kSqrt = [](auto a) { return std::sqrt(a); };
constexpr auto kRsqrt = [](auto a) {
  return static_cast<decltype(a)>(1 / std::sqrt(static_cast<double>(a)));
};
constexpr auto kLg2 = [](float a) { return static_cast<float>(Log2(a)); };
constexpr auto kEx2 = [](float a) { return static_cast<float>(Exp2(a)); };
constexpr auto kTanh = [](float a) { return static_cast<float>(Tanh(a)); };

// The forms that see and give the upper 32 bits of an f64 only, subnormals being zeros.
double UpperHalf(double x) {
  return std::bit_cast<double>(std::bit_cast<uint64_t>(x) & 0xffffffff00000000u);
}
double FlushDouble(double x) {
  return std::fabs(x) < std::numeric_limits<double>::min() ? std::copysign(0.0, x) : x;
}
template <auto F>
double Gross(double a) {
  const double exact = FlushDouble(F(UpperHalf(FlushDouble(a))));
  if (exact != exact) return std::bit_cast<double>(uint64_t{0x7fffffff00000000});
  // To nearest; a carry goes into the exponent as it should.
  const uint64_t half =
      std::fabs(exact) == std::numeric_limits<double>::infinity() ? 0 : 0x80000000u;
  return UpperHalf(std::bit_cast<double>(std::bit_cast<uint64_t>(exact) + half));
}

// sin and cos: the lanes with huge arguments go to the C library one by one.
template <int kQuarter, bool kFtz>
void RunSine(Warp& w, const Inst& i) {
  const float* a = Get<float>(w, i.r[1]);
  float x[kLanes], d[kLanes];
  uint8_t huge[kLanes];
  for (int l = 0; l < kLanes; ++l) x[l] = Input<kFtz>(a[l]);
  for (int l = 0; l < kLanes; ++l) {
    huge[l] = std::fabs(x[l]) <= static_cast<float>(kSineRange) ? 0 : 0xff;
  }
  for (int l = 0; l < kLanes; ++l) {
    const float safe = huge[l] ? 0.0f : x[l];
    const float sine = static_cast<float>(SineOfQuarter(safe, kQuarter));
    // Of tiny arguments, signed zeros among them, the sine is the argument.
    d[l] = Output<kFtz, false>(kQuarter == 0 && std::fabs(safe) < 0x1p-40f ? safe : sine);
  }
  ForLanes(LanesOf(huge), [&](int l) {
    const double wide = x[l];
    d[l] = Output<kFtz, false>(static_cast<float>(kQuarter == 0 ? std::sin(wide) : std::cos(wide)));
  });
  uint8_t s[kLanes];
  MixAndSpread(ShadowAll(4), s, Shadow(w, i.r[1], 4));
  Put(w, i.r[0], d);
  PutShadow(w, i.r[0], 4, s);
}

template <auto F>
Exec PickApprox(bool ftz) {
  return ftz ? FloatExec<F, 1, float, true>() : FloatExec<F, 1, float, false>();
}

// rcp and sqrt: .approx or a rounding. kGross: whether .approx.ftz.f64 is there.
template <auto F, bool kGross>
void BuildRounded(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool approximate = words.Take("approx");
  const int word = approximate ? 0 : TakeRounding(words);
  if (word < 0) words.Refuse("needs .approx or a rounding");
  const auto rounding = static_cast<Rounding>(word);
  const bool ftz = words.Take("ftz");
  const Type type = words.TakeType();
  inst.exec = PickFloat<F, 1>(type, ftz, false, rounding);
  bool flags = ftz;
  if (approximate && type == Type::kF64) {
    if (!kGross || !ftz) words.Refuse("there is no such approximation");
    inst.exec = Run1<Gross<F>, double, double>;
    flags = false;
  }
  FinishFloat(instruction, decoder, inst, words, type, flags, rounding, 1);
  inst.flops = 1;
  if (approximate) inst.klass = InstClass::kSpecialFunction;
}

// The others: .approx{.ftz}.f32.
Type TakeApprox(Words& words, bool* ftz) {
  if (!words.Take("approx")) words.Refuse("needs .approx");
  *ftz = words.Take("ftz");
  return words.TakeType();
}
void FinishApprox(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
                  Type type) {
  FinishFloat(instruction, decoder, inst, words, type, false, Rounding::kNearest, 1);
  inst.flops = 1;
  inst.klass = InstClass::kSpecialFunction;
}
template <auto F>
void BuildApprox(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  bool ftz = false;
  const Type type = TakeApprox(words, &ftz);
  if (type != Type::kF32) words.Refuse("is for .f32");
  inst.exec = PickApprox<F>(ftz);
  FinishApprox(instruction, decoder, inst, words, type);
}
template <int kQuarter>
void BuildSine(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  bool ftz = false;
  const Type type = TakeApprox(words, &ftz);
  if (type != Type::kF32) words.Refuse("is for .f32");
  inst.exec = ftz ? RunSine<kQuarter, true> : RunSine<kQuarter, false>;
  FinishApprox(instruction, decoder, inst, words, type);
}

}  // namespace

void BuildRcp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildRounded<kRcp, true>(instruction, decoder, inst);
}
void BuildSqrt(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildRounded<kSqrt, false>(instruction, decoder, inst);
}
void BuildRsqrt(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  bool ftz = false;
  const Type type = TakeApprox(words, &ftz);
  if (type == Type::kF64) {
    inst.exec = ftz ? Run1<Gross<kRsqrt>, double, double> : FloatExec<kRsqrt, 1, double>();
  } else {
    inst.exec = PickApprox<kRsqrt>(ftz);
  }
  FinishApprox(instruction, decoder, inst, words, type);
}
void BuildSin(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildSine<0>(instruction, decoder, inst);
}
void BuildCos(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildSine<1>(instruction, decoder, inst);
}
void BuildLg2(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildApprox<kLg2>(instruction, decoder, inst);
}
void BuildEx2(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildApprox<kEx2>(instruction, decoder, inst);
}
void BuildTanh(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  bool ftz = false;
  const Type type = TakeApprox(words, &ftz);
  if (type != Type::kF32 || ftz) words.Refuse("is tanh.approx.f32");
  inst.exec = PickApprox<kTanh>(false);
  FinishApprox(instruction, decoder, inst, words, type);
}

}  // namespace softgpu
