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
  // Launches run one after the other: accesses of earlier ones are ordered before.
  LaunchRaces(DeviceMemory& memory, bool global, bool shared);
  ~LaunchRaces();

 private:
  friend class BlockRaces;
  struct State;
  std::unique_ptr<State> state_;
};

class BlockRaces {
 public:
  // Shadow for shared memory, offsets below shared_bytes, in granules of 1 << granule_log2 bytes.
  BlockRaces(LaunchRaces& launch, uint32_t warps, uint32_t shared_bytes, int granule_log2);
  ~BlockRaces();
  // Before a block runs; the object is used for one block after the other.
  void Start(uint64_t block_index);
  // A load, store, atomic of a warp, before it touches memory: checks, reports, remembers. A strong
  // write leaves there what it (or a fence before it) releases, so that nobody can read its value
  // and miss that.
  void OnAccess(Warp& warp, const Inst& inst, const Access& access);
  // After an access that wrote, but for atomics: two writes without order are a finding only where
  // the later one changes what the earlier one left.
  void OnWritten();
  // A strong load or atomic, after it has read: takes up what lies there, for an acquire now, else
  // for the thread's next fence.
  void OnStrongRead(Warp& warp, const Access& access);
  // Lanes that arrive at a barrier and do not wait for it.
  void OnArrive(Warp& warp, uint32_t id, uint32_t mask);
  // A barrier is complete: lanes[w] of every warp took part, those that only arrived included.
  void OnBarrier(const uint32_t* lanes, uint32_t id);
  // bar.warp.sync; shuffles and votes order no memory accesses.
  void OnWarpSync(Warp& warp, uint32_t mask);
  void OnFence(Warp& warp, uint32_t mask, Scope scope);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace softgpu
