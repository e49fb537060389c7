// What the tests of races share: a kernel that has a race or none, run with several seeds.
#pragma once

#include <gtest/gtest.h>

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "tests/softgpu/tests/run_ptx.h"

namespace softgpu::testing {

struct RaceKernel {
  const char* name;
  bool races;
  std::string body;
  uint32_t threads = 64, blocks = 1;
  int workers = 1;
};
inline std::ostream& operator<<(std::ostream& out, const RaceKernel& kernel) {
  return out << kernel.name;
}

inline Outcome RunRace(const RaceKernel& kernel, const std::string& prologue,
                       std::vector<Buffer> buffers, int seed) {
  Case c;
  c.body = prologue + kernel.body;
  c.buffers = std::move(buffers);
  c.threads = kernel.threads;
  c.blocks = kernel.blocks;
  c.workers = kernel.workers;
  c.seed = static_cast<uint64_t>(seed);
  return RunPtx(c);
}

// `run(kernel, seed)` finds this check, and no other, exactly where the kernel races.
template <class Run>
void JudgeRace(const RaceKernel& kernel, Check check, Run run) {
  constexpr int kSeeds = 10;
  for (int seed = 1; seed <= kSeeds; ++seed) {
    SCOPED_TRACE(seed);
    const Outcome outcome = run(kernel, seed);
    if (!kernel.races) {
      EXPECT_TRUE(outcome.findings.empty()) << outcome.Text();
      EXPECT_EQ(outcome.result.error, 0);
      continue;
    }
    EXPECT_TRUE(outcome.Found(check)) << outcome.Text();
    for (const Finding& finding : outcome.findings) EXPECT_EQ(finding.check, check) << finding.text;
  }
}

}  // namespace softgpu::testing
