// See rounding.h.
#include "tests/softgpu/machine/rounding.h"

namespace softgpu {

[[gnu::noinline]] void CallUnder(Rounding rounding, Exec exec, Warp& w, const Inst& i) {
  const RoundingScope scope(rounding);
  exec(w, i);
}

}  // namespace softgpu
