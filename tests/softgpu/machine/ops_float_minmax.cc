// min and max of f32 and f64.
#include "tests/softgpu/machine/minmax.h"
#include "tests/softgpu/machine/ops_float.h"

namespace softgpu {
namespace {

template <bool kMax, bool kNan, bool kXorSign>
constexpr auto kMinMax = [](auto a, auto b) { return MinMax<kMax, kNan, kXorSign>(a, b); };

template <bool kMax>
void BuildMinMax(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  Words words(instruction);
  const bool ftz = words.Take("ftz");
  const bool nan = words.Take("NaN");
  const bool xor_sign = words.Take("xorsign");
  if (xor_sign && !words.Take("abs")) words.Refuse(".xorsign comes with .abs");
  const Type type = words.TakeType();
  if (xor_sign && decoder.target() < 90) words.Refuse(".xorsign needs sm_86");
  constexpr Rounding kNearest = Rounding::kNearest;
  inst.exec = nan ? xor_sign ? PickFloat<kMinMax<kMax, true, true>, 2>(type, ftz, false, kNearest)
                             : PickFloat<kMinMax<kMax, true, false>, 2>(type, ftz, false, kNearest)
              : xor_sign ? PickFloat<kMinMax<kMax, false, true>, 2>(type, ftz, false, kNearest)
                         : PickFloat<kMinMax<kMax, false, false>, 2>(type, ftz, false, kNearest);
  FinishFloat(instruction, decoder, inst, words, type, ftz || nan || xor_sign, kNearest, 2);
}

}  // namespace

void BuildFloatMin(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildMinMax<false>(instruction, decoder, inst);
}
void BuildFloatMax(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst) {
  BuildMinMax<true>(instruction, decoder, inst);
}

}  // namespace softgpu
