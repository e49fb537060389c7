#include "framework/loss_scale.h"

#include <algorithm>
#include <bit>

#include "kernels/runtime/check.h"

namespace lseg {

LossScale::LossScale(int64_t value, int64_t good_steps) : value_(value), good_steps_(good_steps) {
  LSEG_CHECK(value >= 1 && value <= kMost && std::has_single_bit(static_cast<uint64_t>(value)) &&
                 good_steps >= 0 && good_steps < kGrowAfter,
             "a loss scale of " << value << " after " << good_steps
                                << " good steps: it is a power of two up to " << kMost
                                << " that grows after " << kGrowAfter);
}

void LossScale::Good() {
  if (++good_steps_ < kGrowAfter) return;
  value_ = std::min(2 * value_, kMost);
  good_steps_ = 0;
}

bool LossScale::Overflowed() {
  if (value_ == 1) return false;
  value_ /= 2;
  good_steps_ = 0;
  return true;
}

}  // namespace lseg
