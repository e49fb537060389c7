// Divisions of integers that round up, as counts of blocks and of what fills them want it.
#pragma once

#include <cstdint>

#include "kernels/runtime/host_device.h"

namespace lseg {

// The least integer that is not below value / by; by is positive.
LSEG_HOST_DEVICE constexpr int64_t CeilDiv(int64_t value, int64_t by) {
  return value / by + (value % by > 0);
}

// The least multiple of `step` that is not below value; step is positive.
LSEG_HOST_DEVICE constexpr int64_t RoundUp(int64_t value, int64_t step) {
  return CeilDiv(value, step) * step;
}

}  // namespace lseg
