// What a launch would need at least on an H100 (SXM), resource by resource, from its counters. The
// slowest one binds. A bound, not a prediction: latency, dependences and caches are left out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/softgpu/machine/counters.h"

namespace softgpu {

// Rates of an H100 SXM5: NVIDIA's data sheet for memory, floating point and tensor cores (dense);
// the Hopper white paper for what a multiprocessor does in a cycle, at the boost clock of 1.755
// GHz; L2's bandwidth is what published microbenchmarks reach.
struct H100 {
  static constexpr double kMultiprocessors = 132;
  static constexpr double kClock = 1.755e9;
  static constexpr double kMemoryBytes = 3.35e12;
  static constexpr double kL2Bytes = 5.5e12;
  static constexpr double kFloat32 = 67e12, kFloat64 = 34e12, kHalf = 134e12;
  static constexpr double kTensorHalf = 989e12;  // f16, bf16; tf32 is half of it: see kTensorTf32
  static constexpr double kTensorTf32 = 495e12;
  static constexpr double kWarpInstructions = kMultiprocessors * 4 * kClock;
  static constexpr double kWavefronts = kMultiprocessors * kClock;  // of 128 bytes
  static constexpr double kSpecialFunctions = kMultiprocessors * 16 * kClock;
};

struct Bound {
  const char* resource;
  double seconds;
};
struct Roofline {
  // In a fixed order. "memory" takes each sector from memory; "l2" from a cache that holds all.
  std::vector<Bound> bounds;
  double seconds = 0;  // the greatest
  const char* binds = "nothing";
};
// blocks of one launch: fewer than multiprocessors leave some idle. Counters of several launches of
// so many blocks each may be summed.
Roofline Estimate(const Counters& counters, uint64_t blocks);

}  // namespace softgpu
