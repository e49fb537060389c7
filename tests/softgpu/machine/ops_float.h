// Builders of the f32 and f64 family, by file.
#pragma once

#include "tests/softgpu/machine/rounding.h"

namespace softgpu {

// ops_float_special.cc
void BuildRcp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildSqrt(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildRsqrt(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildSin(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildCos(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildLg2(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildEx2(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildTanh(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

// ops_float_minmax.cc
void BuildFloatMin(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildFloatMax(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

// F with the flags of an instruction around it.
template <class T, bool kFtz, bool kSat, auto F>
constexpr auto kFlagged1 = [](T a) { return Output<kFtz, kSat>(F(Input<kFtz>(a))); };
template <class T, bool kFtz, bool kSat, auto F>
constexpr auto kFlagged2 =
    [](T a, T b) { return Output<kFtz, kSat>(F(Input<kFtz>(a), Input<kFtz>(b))); };
template <class T, bool kFtz, bool kSat, auto F>
constexpr auto kFlagged3 = [](T a, T b, T c) {
  return Output<kFtz, kSat>(F(Input<kFtz>(a), Input<kFtz>(b), Input<kFtz>(c)));
};

template <auto F, int kSources, class T, bool kFtz = false, bool kSat = false>
constexpr Exec FloatExec() {
  if constexpr (kSources == 1) return Run1<kFlagged1<T, kFtz, kSat, F>, T, T>;
  if constexpr (kSources == 2) return Run2<kFlagged2<T, kFtz, kSat, F>, T, T, T>;
  if constexpr (kSources == 3) return Run3<kFlagged3<T, kFtz, kSat, F>, T, T, T, T>;
}

// The executor of F on kSources operands. f64 has neither ftz nor sat.
template <auto F, int kSources>
Exec PickFloat(Type type, bool ftz, bool sat, Rounding rounding) {
  const auto with = [rounding]<Exec kExec>(std::integral_constant<Exec, kExec>) {
    return rounding == Rounding::kNearest ? kExec : RunRounded<kExec>;
  };
  if (type == Type::kF64)
    return with(std::integral_constant<Exec, FloatExec<F, kSources, double>()>());
  if (ftz && sat) {
    return with(std::integral_constant<Exec, FloatExec<F, kSources, float, true, true>()>());
  }
  if (ftz) {
    return with(std::integral_constant<Exec, FloatExec<F, kSources, float, true, false>()>());
  }
  if (sat) {
    return with(std::integral_constant<Exec, FloatExec<F, kSources, float, false, true>()>());
  }
  return with(std::integral_constant<Exec, FloatExec<F, kSources, float>()>());
}

// Class, rounding and operands; refuses words that are left, and flags on f64.
void FinishFloat(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst, Words& words,
                 Type type, bool flags, Rounding rounding, int sources);

}  // namespace softgpu
