#include "tests/softgpu/machine/clocks.h"

#include <bit>

namespace softgpu {

BlockClocks::BlockClocks(KnowledgeStore& store, uint32_t warps)
    : count_(warps), maker_(store), warps_(warps) {
  Start(0);
}

BlockClocks::~BlockClocks() = default;

void BlockClocks::Start(uint64_t block) {
  block_ = block;
  counter_ = 1;
  block_floor_ = 0;
  for (WarpClock& c : warps_) {
    c.now = c.bound = c.floor = c.synced = 0;
    c.closed = true;
    c.divided = false;
    c.known.assign(count_, 0);
    if (c.fences[0].any) {
      for (FenceState& f : c.fences) f = FenceState{};
    }
    c.acquired.Clear();
    c.lanes.reset();
    c.lanes_acquired = c.lanes_pending = 0;
  }
  acquired_.Clear();
  anything_acquired_ = false;
  for (Arrival& a : arrivals_) a = Arrival{};
}

uint32_t BlockClocks::Close(uint32_t w) {
  WarpClock& c = warps_[w];
  if (!c.closed) {
    c.bound = counter_;
    c.closed = true;
  }
  return c.bound;
}

bool BlockClocks::Acquired::Covers(uint64_t block, uint32_t warps, uint32_t warp, uint32_t lane,
                                   uint32_t time) {
  if (!known) return false;
  if (!index) index = std::make_unique<KnownSet>();
  index->Add(known);
  return index->Covers(block, warps, warp, lane, time);
}

bool BlockClocks::OrderedInWarp(const WarpClock& c, uint32_t lane, uint32_t other_lane,
                                uint32_t time) const {
  if (other_lane == lane || other_lane == kSomeLanes || time <= c.synced) return true;
  if (!c.divided) return false;
  const uint32_t* const row = &c.matrix[lane * kLanes];
  if (other_lane < kLanes) return time <= row[other_lane];
  // Which ones of several lanes is not known: a finding only where none can be ordered.
  for (uint32_t l = 0; l < kLanes; ++l) {
    if (l != lane && time <= row[l]) return true;
  }
  return false;
}

bool BlockClocks::Ordered(uint32_t w, uint32_t lane, uint32_t other_warp, uint32_t other_lane,
                          uint32_t time) {
  if (w == other_warp) {
    if (OrderedInWarp(warps_[w], lane, other_lane, time)) return true;
  } else if (time <= Known(w, other_warp)) {
    return true;
  }
  return OrderedElsewhere(w, lane, block_, other_warp, other_lane, time);
}

bool BlockClocks::OrderedElsewhere(uint32_t w, uint32_t lane, uint64_t block, uint32_t other_warp,
                                   uint32_t other_lane, uint32_t time) {
  if (!anything_acquired_) return false;
  WarpClock& c = warps_[w];
  return acquired_.Covers(block, count_, other_warp, other_lane, time) ||
         c.acquired.Covers(block, count_, other_warp, other_lane, time) ||
         (((c.lanes_acquired >> lane) & 1) &&
          c.lanes[lane].acquired.Covers(block, count_, other_warp, other_lane, time));
}

BlockClocks::LaneState& BlockClocks::Lane(WarpClock& c, uint32_t lane) {
  if (!c.lanes) c.lanes = std::make_unique<LaneState[]>(kLanes);
  return c.lanes[lane];
}

void BlockClocks::Absorb(WarpClock& c, uint32_t lane, const Knowledge* known) {
  if (!known) return;
  LaneState& state = Lane(c, lane);
  state.acquired.known = maker_.Join(known, state.acquired.known);
  c.lanes_acquired |= 1u << lane;
  anything_acquired_ = true;
}

// What these lanes have acquired, each by itself.
const Knowledge* BlockClocks::TakeLanes(WarpClock& c, uint32_t mask) {
  const Knowledge* all = nullptr;
  for (uint32_t m = mask & c.lanes_acquired; m; m &= m - 1) {
    all = maker_.Join(c.lanes[std::countr_zero(m)].acquired.known, all);
  }
  return all;
}

void BlockClocks::Barrier(uint32_t id, const uint32_t* lanes, const uint32_t* alive) {
  Arrival& arrival = arrivals_[id];
  bool whole = arrival.lanes.empty();
  for (uint32_t w = 0; w < count_ && whole; ++w) whole = (alive[w] & ~lanes[w]) == 0;
  if (whole) {
    BlockBarrier();
    return;
  }
  std::vector<uint32_t> known(count_, 0);
  const Knowledge* told = nullptr;
  std::vector<uint32_t> waits(lanes, lanes + count_);
  if (!arrival.lanes.empty()) {
    known = arrival.known;
    told = arrival.told;
    for (uint32_t w = 0; w < count_; ++w) waits[w] &= ~arrival.lanes[w];
    arrival = Arrival{};
  }
  for (uint32_t w = 0; w < count_; ++w) {
    if (waits[w]) Tell(w, waits[w], alive[w], known, &told);
  }
  for (uint32_t w = 0; w < count_; ++w) {
    if (!waits[w]) continue;
    if ((alive[w] & ~waits[w]) == 0) {
      Learn(w, known, told);
      continue;
    }
    // A part of a warp learns as threads do that acquire.
    Knowledge* const node = Release(w, std::countr_zero(waits[w]), 0, nullptr);
    uint32_t* const times = maker_.NewTimes(count_);
    if (!node || !times) continue;
    std::copy(known.begin(), known.end(), times);
    node->warps = times;
    for (uint32_t m = waits[w]; m; m &= m - 1) {
      Absorb(warps_[w], std::countr_zero(m), maker_.Join(node, told));
    }
    SyncLanes(w, waits[w]);
  }
}

void BlockClocks::Arrive(uint32_t w, uint32_t id, uint32_t mask, uint32_t alive) {
  Arrival& arrival = arrivals_[id];
  if (arrival.lanes.empty()) {
    arrival.lanes.resize(count_);
    arrival.known.resize(count_);
  }
  arrival.lanes[w] |= mask;
  Tell(w, mask, alive, arrival.known, &arrival.told);
}

// Adds what these lanes of w know and did.
void BlockClocks::Tell(uint32_t w, uint32_t mask, uint32_t alive, std::vector<uint32_t>& known,
                       const Knowledge** told) {
  WarpClock& c = warps_[w];
  for (uint32_t x = 0; x < count_; ++x) known[x] = std::max(known[x], Known(w, x));
  const uint32_t bound = Close(w);
  if (anything_acquired_) {
    *told = maker_.Join(c.acquired.known, *told);
    *told = maker_.Join(TakeLanes(c, mask), *told);
  }
  if ((alive & ~mask) == 0) {
    known[w] = std::max(known[w], bound);
    return;
  }
  Knowledge* const node = Release(w, std::countr_zero(mask), bound, nullptr);
  uint32_t* const lanes = maker_.NewTimes(kLanes);
  uint32_t* const warps = maker_.NewTimes(count_);
  if (!node || !lanes || !warps) return;
  for (uint32_t x = 0; x < count_; ++x) warps[x] = Known(w, x);
  for (uint32_t l = 0; l < kLanes; ++l) {
    lanes[l] = (mask >> l) & 1 ? bound : 0;
    if (!c.divided) continue;
    for (uint32_t m = mask; m; m &= m - 1) {
      lanes[l] = std::max(lanes[l], c.matrix[std::countr_zero(m) * kLanes + l]);
    }
  }
  node->warps = warps;
  node->lanes = lanes;
  *told = maker_.Join(node, *told);
}

// All lanes of w now know this much.
void BlockClocks::Learn(uint32_t w, const std::vector<uint32_t>& known, const Knowledge* told) {
  WarpClock& c = warps_[w];
  c.synced = std::max({c.synced, Close(w), known[w]});
  c.divided = false;
  c.floor = ~0u;
  for (uint32_t x = 0; x < count_; ++x) {
    c.known[x] = std::max(c.known[x], known[x]);
    if (x != w) c.floor = std::min(c.floor, Known(w, x));
  }
  if (count_ == 1) c.floor = c.synced;
  if (!told) return;
  anything_acquired_ = true;
  c.acquired.known = maker_.Join(told, c.acquired.known);
  for (uint32_t m = c.lanes_acquired; m; m &= m - 1) c.lanes[std::countr_zero(m)].acquired.Clear();
  c.lanes_acquired = 0;
}

void BlockClocks::BlockBarrier() {
  block_floor_ = counter_;
  for (WarpClock& c : warps_) {
    c.floor = c.synced = c.bound = counter_;
    c.closed = true;
    c.divided = false;
  }
  if (!anything_acquired_) return;
  for (WarpClock& c : warps_) {
    acquired_.known = maker_.Join(TakeLanes(c, kAllLanes), acquired_.known);
    acquired_.known = maker_.Join(c.acquired.known, acquired_.known);
    for (uint32_t m = c.lanes_acquired; m; m &= m - 1) {
      c.lanes[std::countr_zero(m)].acquired.Clear();
    }
    c.lanes_acquired = 0;
    c.acquired.Clear();
  }
}

void BlockClocks::WarpSync(uint32_t w, uint32_t mask, uint32_t alive) {
  if (alive & ~mask) {
    SyncLanes(w, mask & alive);
    return;
  }
  WarpClock& c = warps_[w];
  c.synced = std::max(c.synced, Close(w));
  c.divided = false;
  if (!c.lanes_acquired) return;
  c.acquired.known = maker_.Join(TakeLanes(c, kAllLanes), c.acquired.known);
  for (uint32_t m = c.lanes_acquired; m; m &= m - 1) c.lanes[std::countr_zero(m)].acquired.Clear();
  c.lanes_acquired = 0;
}

void BlockClocks::SyncLanes(uint32_t w, uint32_t mask) {
  WarpClock& c = warps_[w];
  const bool news = !c.closed || !c.divided || c.divided_mask != mask;
  if (news) {
    const uint32_t bound = Close(w);
    if (!c.matrix) c.matrix = std::make_unique<uint32_t[]>(kLanes * kLanes);
    if (!c.divided) std::fill_n(c.matrix.get(), kLanes * kLanes, 0);
    c.divided = true;
    c.divided_mask = mask;
    uint32_t joined[kLanes] = {};
    for (uint32_t m = mask; m; m &= m - 1) {
      const uint32_t* const row = &c.matrix[std::countr_zero(m) * kLanes];
      for (int l = 0; l < kLanes; ++l) joined[l] = std::max(joined[l], row[l]);
    }
    for (uint32_t l = 0; l < kLanes; ++l) joined[l] = (mask >> l) & 1 ? bound : joined[l];
    for (uint32_t m = mask; m; m &= m - 1) {
      std::copy_n(joined, kLanes, &c.matrix[std::countr_zero(m) * kLanes]);
    }
  }
  if (!(c.lanes_acquired & mask)) return;
  const Knowledge* const all = TakeLanes(c, mask);
  for (uint32_t m = mask; m; m &= m - 1) Absorb(c, std::countr_zero(m), all);
}

}  // namespace softgpu
