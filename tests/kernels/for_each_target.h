// Own SIMD code on every instruction set that this processor has, not the best one alone: a machine
// without the others would never run them.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>
#include <hwy/targets.h>

namespace lseg {

// Calls each() once a set. Sets that the code is not compiled for come out as the baseline.
template <typename Each>
void ForEachTarget(Each each) {
  hwy::SetSupportedTargetsForTest(0);
  const int64_t supported = hwy::SupportedTargets();
  int count = 0;
  for (int64_t target = 1; target <= supported && target > 0; target <<= 1) {
    if ((supported & target) == 0) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::SetSupportedTargetsForTest(target);
    each();
    ++count;
  }
  hwy::SetSupportedTargetsForTest(0);
  EXPECT_GT(count, 0);
}

}  // namespace lseg
