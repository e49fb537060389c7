// Data races by PTX's memory model: two accesses to a byte by two threads of which one writes, not
// both strong (volatile, relaxed or atomic), with no order between them by program order, barriers,
// __syncwarp, or fences around strong accesses. One BlockRaces follows a block's clocks and its
// shared memory; entries of global memory lie in DeviceMemory::RaceEntry.
#pragma once

#include <cstdint>
#include <memory>

#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// What blocks of one launch know of each other. Thread-safe.
class LaunchRaces {
 public:
  // `serial` is unique among the launches of a process: accesses of earlier ones are ordered
  // before.
  LaunchRaces(DeviceMemory& memory, uint64_t serial, bool global, bool shared);
  ~LaunchRaces();

 private:
  friend class BlockRaces;
  struct State;
  std::unique_ptr<State> state_;
};

class BlockRaces {
 public:
  // Shadow for shared_bytes of shared memory in granules of 1 << granule_log2 bytes.
  BlockRaces(LaunchRaces& launch, uint32_t warps, uint32_t shared_bytes, int granule_log2);
  ~BlockRaces();
  // Before a block runs; the object is used for one block after the other.
  void Start(uint64_t block_index);
  // A load, store, atomic of a warp: checks, reports, remembers. Also joins clocks where the access
  // is an acquire or release pattern by itself (order) or together with fences.
  void OnAccess(Warp& warp, const Inst& inst, const Access& access);
  // A barrier is complete: lanes[w] of every warp took part.
  void OnBarrier(const uint32_t* lanes, uint32_t warps);
  void OnWarpSync(Warp& warp, uint32_t mask);  // also every .sync warp operation
  void OnFence(Warp& warp, uint32_t mask, Scope scope);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace softgpu
