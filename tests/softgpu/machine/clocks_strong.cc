// Fences, releases and acquires of the threads of a block. A relaxed write tells what a fence
// before it covered; a relaxed read is worth nothing before a fence behind it.
#include <bit>

#include "tests/softgpu/machine/clocks.h"

namespace softgpu {
namespace {

bool Releases(Order order) { return order == Order::kRelease || order == Order::kAcquireRelease; }
bool Acquires(Order order) { return order == Order::kAcquire || order == Order::kAcquireRelease; }

}  // namespace

void BlockClocks::Fence(uint32_t w, uint32_t mask, uint32_t alive, Scope scope) {
  WarpClock& c = warps_[w];
  const uint32_t bound = Close(w);
  const int levels = scope == Scope::kBlock ? 1 : 2;
  for (int level = 0; level < levels; ++level) {
    FenceState& f = c.fences[level];
    f.any = true;
    for (uint32_t l = 0; l < kLanes; ++l) f.lanes[l] = (mask >> l) & 1 ? bound : f.lanes[l];
    if ((alive & ~mask) == 0) f.all_lanes = bound;
    f.known.resize(count_);
    for (uint32_t x = 0; x < count_; ++x) f.known[x] = Known(w, x);
  }
  for (uint32_t m = mask & c.lanes_pending; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    SyncObjects::Heads& pending = c.lanes[lane].pending;
    Absorb(c, lane, pending.block);
    pending.block = nullptr;
    if (levels == 1) continue;
    Absorb(c, lane, pending.device);
    pending.device = nullptr;
    c.lanes_pending &= ~(1u << lane);
  }
}

Knowledge* BlockClocks::Release(uint32_t w, uint32_t lane, uint32_t time, const uint32_t* known) {
  Knowledge* const node = maker_.New();
  if (!node) return nullptr;
  node->block = block_;
  node->warp = w;
  node->lane = lane;
  node->time = time;
  node->warps = known;
  return node;
}

// What lanes of w tell of the block's warps. A thread that fenced tells also of others that fenced
// themselves before a barrier with it.
const uint32_t* BlockClocks::Told(uint32_t w, int level, bool release) {
  uint32_t* const times = maker_.NewTimes(count_);
  if (!times) return nullptr;
  const FenceState& f = warps_[w].fences[level];
  for (uint32_t x = 0; x < count_; ++x) {
    times[x] = release
                   ? Known(w, x)
                   : std::max(f.known[x], std::min(Known(w, x), warps_[x].fences[level].all_lanes));
  }
  return times;
}

SyncObjects::Heads BlockClocks::Told(uint32_t w, uint32_t lane, const Access& access,
                                     uint32_t bound, const uint32_t** known) {
  WarpClock& c = warps_[w];
  const bool release = Releases(access.order);
  SyncObjects::Heads heads;
  for (int level = access.scope == Scope::kBlock ? 0 : 1; level >= 0; --level) {
    const FenceState& f = c.fences[level];
    const uint32_t time = std::max(release ? bound : 0, f.lanes[lane]);
    if (!release && !time) continue;
    if (level == 0 && heads.device && (release || time == c.fences[1].lanes[lane])) {
      heads.block = heads.device;
      continue;
    }
    if (!known[level]) known[level] = Told(w, level, release);
    Knowledge* const node = known[level] ? Release(w, lane, time, known[level]) : nullptr;
    if (!node) continue;
    if (c.divided) {
      if (uint32_t* const lanes = maker_.NewTimes(kLanes)) {
        std::copy_n(&c.matrix[lane * kLanes], kLanes, lanes);
        node->lanes = lanes;
      }
    }
    const bool own = (c.lanes_acquired >> lane) & 1;
    node->a = maker_.Join(own ? c.lanes[lane].acquired.known : nullptr, c.acquired.known);
    node->b = acquired_.known;
    (level ? heads.device : heads.block) = node;
  }
  return heads;
}

void BlockClocks::Publish(uint32_t w, const Access& access, SyncObjects& objects) {
  const bool release = Releases(access.order);
  if (!release && !fenced(w) && objects.empty()) return;
  const uint32_t bound = release ? Close(w) : 0;
  const uint32_t* known[2] = {nullptr, nullptr};
  for (uint32_t m = access.mask; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    objects.Write(AddressOf(access, lane), access.bytes, block_,
                  Told(w, lane, access, bound, known), access.atomic, maker_);
  }
}

void BlockClocks::Collect(uint32_t w, const Access& access, SyncObjects& objects) {
  if (objects.empty()) return;
  WarpClock& c = warps_[w];
  const bool device = access.scope != Scope::kBlock;
  for (uint32_t m = access.mask; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    SyncObjects::Heads heads = objects.Read(AddressOf(access, lane), access.bytes, block_, maker_);
    if (!device) heads.device = nullptr;
    if (!heads.device && !heads.block) continue;
    if (Acquires(access.order)) {
      Absorb(c, lane, heads.block);
      if (heads.device != heads.block) Absorb(c, lane, heads.device);
      continue;
    }
    SyncObjects::Heads& pending = Lane(c, lane).pending;
    pending.block = maker_.Join(heads.block, pending.block);
    pending.device = maker_.Join(heads.device, pending.device);
    c.lanes_pending |= 1u << lane;
  }
}

}  // namespace softgpu
