// add, sub, mul, fma, mad, div, abs, neg of f32 and f64, and the table of the family. The processor
// does the arithmetic: IEEE 754 in all four rounding modes, fma included; what PTX adds (.ftz,
// .sat, the one NaN) stands in rounding.h.
#include "tests/softgpu/machine/ops_float.h"

namespace softgpu {

void FinishFloat(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
                 Type type, bool flags, Rounding rounding, int sources) {
  words.Finish();
  if (type != Type::kF32 && type != Type::kF64) words.Refuse("there is no such type here");
  if (type == Type::kF64 && flags) words.Refuse(".ftz and .sat are for .f32");
  inst.a = static_cast<uint32_t>(rounding);
  inst.klass = type == Type::kF32 ? InstClass::kFloat32 : InstClass::kFloat64;
  if (sources == 1) SetOperands(instruction, decoder, inst, {type, type});
  if (sources == 2) SetOperands(instruction, decoder, inst, {type, type, type});
  if (sources == 3) SetOperands(instruction, decoder, inst, {type, type, type, type});
}

namespace {

constexpr auto kAdd = [](auto a, auto b) { return a + b; };
constexpr auto kSub = [](auto a, auto b) { return a - b; };
constexpr auto kMul = [](auto a, auto b) { return a * b; };
constexpr auto kFma = [](auto a, auto b, auto c) { return std::fma(a, b, c); };
constexpr auto kDiv = [](auto a, auto b) { return a / b; };
// "A fast approximation, a * (1/b)": where 1/b is subnormal it is 0.
constexpr auto kDivApprox = [](float a, float b) {
  const float size = std::fabs(b);
  const bool huge = size > 0x1p126f && size < std::numeric_limits<float>::infinity();
  return huge ? a * std::copysign(0.0f, b) : a / b;
};

template <auto F, int kSources, int kFlops, bool kNeedsRounding>
void BuildArithmetic(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int word = TakeRounding(words);
  if (word < 0 && kNeedsRounding) words.Refuse("needs a rounding: .rn, .rz, .rm or .rp");
  const auto rounding = word < 0 ? Rounding::kNearest : static_cast<Rounding>(word);
  const bool ftz = words.Take("ftz");
  const bool sat = words.Take("sat");
  const Type type = words.TakeType();
  inst.exec = PickFloat<F, kSources>(type, ftz, sat, rounding);
  inst.flops = kFlops;
  FinishFloat(instruction, decoder, inst, words, type, ftz || sat, rounding, kSources);
}

void BuildDiv(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const int approximate = words.TakeOneOf({"approx", "full"});
  const int word = approximate < 0 ? TakeRounding(words) : -1;
  if (approximate < 0 && word < 0) words.Refuse("needs .approx, .full or a rounding");
  const auto rounding = word < 0 ? Rounding::kNearest : static_cast<Rounding>(word);
  const bool ftz = words.Take("ftz");
  const Type type = words.TakeType();
  if (approximate >= 0 && type != Type::kF32) words.Refuse(".approx and .full are for .f32");
  inst.exec = PickFloat<kDiv, 2>(type, ftz, false, rounding);
  if (approximate == 0) {
    inst.exec = ftz ? FloatExec<kDivApprox, 2, float, true>() : FloatExec<kDivApprox, 2, float>();
  }
  FinishFloat(instruction, decoder, inst, words, type, ftz, rounding, 2);
  inst.flops = 1;
  if (approximate >= 0) inst.klass = InstClass::kSpecialFunction;
}

template <auto F>
void BuildSign(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool ftz = words.Take("ftz");
  const Type type = words.TakeType();
  inst.exec = PickFloat<F, 1>(type, ftz, false, Rounding::kNearest);
  FinishFloat(instruction, decoder, inst, words, type, ftz, Rounding::kNearest, 1);
}

}  // namespace

const BuilderTable& FloatBuilders() {
  static const BuilderTable table = {
      {"add", BuildArithmetic<kAdd, 2, 1, false>},
      {"sub", BuildArithmetic<kSub, 2, 1, false>},
      {"mul", BuildArithmetic<kMul, 2, 1, false>},
      {"fma", BuildArithmetic<kFma, 3, 2, true>},
      {"mad", BuildArithmetic<kFma, 3, 2, true>},
      {"div", BuildDiv},
      {"abs", BuildSign<[](auto a) { return std::fabs(a); }>},
      {"neg", BuildSign<[](auto a) { return -a; }>},
      {"min", BuildFloatMin},
      {"max", BuildFloatMax},
      {"rcp", BuildRcp},
      {"sqrt", BuildSqrt},
      {"rsqrt", BuildRsqrt},
      {"sin", BuildSin},
      {"cos", BuildCos},
      {"lg2", BuildLg2},
      {"ex2", BuildEx2},
      {"tanh", BuildTanh},
  };
  return table;
}

}  // namespace softgpu
