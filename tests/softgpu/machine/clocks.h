// What is ordered before what inside a block. All warps draw their times from one counter that a
// barrier, warp sync or fence closes: accesses get a later time than everything a sync has told
// of, so a barrier of the whole block is one number, and an access is known to be ordered by one
// compare. Exceptions (named barriers, parts of warps, strong accesses) are kept beside it.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "tests/softgpu/machine/sync_objects.h"
#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// Lanes of a record that is no single lane's.
inline constexpr uint32_t kSeveralLanes = 32;  // at least two, each touched all of it
inline constexpr uint32_t kSomeLanes = 33;     // they cannot be told apart

inline uint64_t AddressOf(const Access& access, uint32_t lane) {
  if (access.pattern == Access::Pattern::kUniform) return access.address[access.first];
  if (access.pattern == Access::Pattern::kUnitStride) {
    return access.address[0] + lane * access.bytes;
  }
  return access.address[lane];
}

class BlockClocks {
 public:
  BlockClocks(KnowledgeStore& store, uint32_t warps);
  ~BlockClocks();
  void Start(uint64_t block);
  uint64_t block() const { return block_; }
  uint32_t warps() const { return count_; }
  uint32_t counter() const { return counter_; }

  // The time of an access that the warp makes now.
  uint32_t Now(uint32_t w) {
    WarpClock& c = warps_[w];
    if (c.closed) {
      if (counter_ <= c.bound) ++counter_;
      c.now = counter_;
      c.closed = false;
    }
    return c.now;
  }
  // All lanes of all other warps are ordered before all lanes of w up to this time ...
  uint32_t Floor(uint32_t w) const { return warps_[w].floor; }
  // ... and all lanes of w itself up to this one.
  uint32_t Synced(uint32_t w) const { return warps_[w].synced; }
  // Whether an access of that warp and lane(s) of this block at that time is ordered before what
  // the lane of warp w does now.
  bool Ordered(uint32_t w, uint32_t lane, uint32_t other_warp, uint32_t other_lane, uint32_t time);
  bool OrderedElsewhere(uint32_t w, uint32_t lane, uint64_t block, uint32_t other_warp,
                        uint32_t other_lane, uint32_t time);

  // alive: of each warp; a warp without any has arrived everywhere. lanes include those that only
  // arrived (Arrive): these tell what was before, and learn nothing.
  void Barrier(uint32_t id, const uint32_t* lanes, const uint32_t* alive);
  void Arrive(uint32_t w, uint32_t id, uint32_t mask, uint32_t alive);
  void WarpSync(uint32_t w, uint32_t mask, uint32_t alive);
  void Fence(uint32_t w, uint32_t mask, uint32_t alive, Scope scope);

  // What lanes tell at this address with a strong write, and take up with a strong read.
  void Publish(uint32_t w, const Access& access, SyncObjects& objects);
  void Collect(uint32_t w, const Access& access, SyncObjects& objects);
  // Anything to tell: without, publishing is pointless unless something lies there already.
  bool fenced(uint32_t w) const { return warps_[w].fences[0].any; }

 private:
  // What a thread, a whole warp or the whole block has acquired.
  struct Acquired {
    const Knowledge* known = nullptr;
    std::unique_ptr<KnownSet> index;
    bool Covers(uint64_t block, uint32_t warps, uint32_t warp, uint32_t lane, uint32_t time);
    void Clear() {
      known = nullptr;
      index.reset();
    }
  };
  struct LaneState {
    Acquired acquired;
    SyncObjects::Heads pending;  // read, waits for a fence of that scope
  };
  struct FenceState {
    bool any = false;
    uint32_t all_lanes = 0;       // the last fence of all lanes
    uint32_t lanes[kLanes] = {};  // of a lane
    std::vector<uint32_t> known;  // of the block's warps, at the last fence
  };
  struct WarpClock {
    uint32_t now = 0;
    uint32_t bound = 0;  // accesses up to here have been told of
    bool closed = true;
    bool divided = false;  // lanes know different things of each other: matrix
    uint32_t divided_mask = 0;
    uint32_t floor = 0, synced = 0;
    std::vector<uint32_t> known;         // of other warps, where more than block_floor_
    std::unique_ptr<uint32_t[]> matrix;  // [lane][other lane]
    FenceState fences[2];                // by any fence; by one of device scope
    Acquired acquired;
    std::unique_ptr<LaneState[]> lanes;
    uint32_t lanes_acquired = 0, lanes_pending = 0;  // where it is not empty
  };
  // What lanes that arrived at a barrier without waiting told it.
  struct Arrival {
    std::vector<uint32_t> lanes, known;
    const Knowledge* told = nullptr;
  };

  uint32_t Close(uint32_t w);
  uint32_t Known(uint32_t w, uint32_t other) const {
    const WarpClock& c = warps_[w];
    return w == other ? c.synced : std::max(block_floor_, c.known[other]);
  }
  bool OrderedInWarp(const WarpClock& c, uint32_t lane, uint32_t other_lane, uint32_t time) const;
  void BlockBarrier();
  void Learn(uint32_t w, const std::vector<uint32_t>& known, const Knowledge* told);
  void Tell(uint32_t w, uint32_t mask, uint32_t alive, std::vector<uint32_t>& known,
            const Knowledge** told);
  void SyncLanes(uint32_t w, uint32_t mask);
  void Absorb(WarpClock& c, uint32_t lane, const Knowledge* known);
  const Knowledge* TakeLanes(WarpClock& c, uint32_t mask);
  LaneState& Lane(WarpClock& c, uint32_t lane);
  Knowledge* Release(uint32_t w, uint32_t lane, uint32_t time, const uint32_t* known);
  const uint32_t* Told(uint32_t w, int level, bool release);
  SyncObjects::Heads Told(uint32_t w, uint32_t lane, const Access& access, uint32_t bound,
                          const uint32_t** known);

  const uint32_t count_;
  KnowledgeMaker maker_;
  uint64_t block_ = 0;
  uint32_t counter_ = 1;
  uint32_t block_floor_ = 0;
  bool anything_acquired_ = false;
  Acquired acquired_;  // of all threads
  std::vector<WarpClock> warps_;
  Arrival arrivals_[16];
};

}  // namespace softgpu
