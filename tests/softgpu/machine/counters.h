// What a launch cost. Every worker counts into its own Counters; they are summed at the launch's
// end.
#pragma once

#include <cstdint>

#include "tests/softgpu/machine/kernel.h"

namespace softgpu {

struct Counters {
  uint64_t insts[static_cast<int>(InstClass::kCount)] = {};  // warp instructions
  uint64_t warp_insts = 0;
  uint64_t lane_insts = 0;  // active lanes, summed: / (32 * warp_insts) is the efficiency
  uint64_t branches = 0, divergent_branches = 0;  // that some lane takes; not all active ones
  uint64_t flops_f32 = 0, flops_f64 = 0, flops_half = 0, flops_mma = 0;  // fma counts 2
  uint64_t special_functions = 0;                                        // lanes
  // Global memory: what lanes asked for, and 32-byte sectors moved; ideal: the sectors that the
  // distinct bytes would need if packed.
  uint64_t load_bytes = 0, load_sectors = 0, load_sectors_ideal = 0;
  uint64_t store_bytes = 0, store_sectors = 0, store_sectors_ideal = 0;
  uint64_t atomic_lanes = 0;
  // Shared memory: passes over its 32 banks of 4 bytes, and what a conflict-free access would take.
  uint64_t shared_load_wavefronts = 0, shared_load_wavefronts_ideal = 0;
  uint64_t shared_store_wavefronts = 0, shared_store_wavefronts_ideal = 0;
  uint64_t async_copy_bytes = 0;
  uint64_t local_bytes = 0;
  uint64_t barriers = 0;  // a block's barrier completions
  uint64_t blocks = 0, warps = 0;

  void Add(const Counters& other);
};

struct Access;
// Adds sectors or wavefronts of one warp access (global, shared) to the counters.
void CountAccess(const Access& access, Counters& counters);

}  // namespace softgpu
