// Rounding modes, .ftz, .sat and canonical NaNs of f32 and f64, as small vectorisable functions.
#pragma once

#include <cfenv>
#include <cmath>
#include <limits>

#include "tests/softgpu/machine/alu.h"

namespace softgpu {

// As PTX names them: .rn, .rz, .rm, .rp.
enum class Rounding : uint8_t { kNearest, kZero, kDown, kUp };
// Takes such a word; -1: the next one is none.
inline int TakeRounding(Words& words) { return words.TakeOneOf({"rn", "rz", "rm", "rp"}); }

// The processor's rounding mode while it lives. Arithmetic under it must stand in a function of
// its own that the compiler cannot look into (see CallUnder): it believes that the mode is fixed.
class RoundingScope {
 public:
  explicit RoundingScope(Rounding rounding) {
    constexpr int kModes[] = {FE_TONEAREST, FE_TOWARDZERO, FE_DOWNWARD, FE_UPWARD};
    std::fesetround(kModes[static_cast<int>(rounding)]);
  }
  ~RoundingScope() { std::fesetround(FE_TONEAREST); }
  RoundingScope(const RoundingScope&) = delete;
  RoundingScope& operator=(const RoundingScope&) = delete;
};
void CallUnder(Rounding rounding, Exec exec, Warp& w, const Inst& i);

// The executor kExec under the rounding mode in i.a.
template <Exec kExec>
void RunRounded(Warp& w, const Inst& i) {
  CallUnder(static_cast<Rounding>(i.a), kExec, w, i);
}

// Subnormals become zeros of their sign.
inline float Flush(float x) {
  return std::fabs(x) < std::numeric_limits<float>::min() ? std::copysign(0.0f, x) : x;
}
template <bool kFtz, class T>
T Input(T x) {
  if constexpr (kFtz) return Flush(x);
  return x;
}

// What an f32 result that is no number is, on every GPU so far.
inline constexpr uint32_t kNaN32 = 0x7fffffffu;
template <bool kFtz, bool kSat, class T>
T Output(T x) {
  if constexpr (kFtz) x = Flush(x);
  if constexpr (kSat) return x > 0 ? (x < 1 ? x : T{1}) : T{0};  // NaN: 0
  if constexpr (sizeof(T) == 4) return x == x ? x : std::bit_cast<float>(kNaN32);
  return x;
}

}  // namespace softgpu
