// See async_copies.h. One record is one cp.async of a warp: the source as it was when the copy was
// issued, to be compared with the source at the wait, and for every lane the group it belongs to.
#include "tests/softgpu/machine/async_copies.h"

#include <algorithm>
#include <cstring>
#include <string>

#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu {
namespace {

constexpr uint32_t kGranule = AsyncCopies::kGranule;

// Who has bytes of this range in flight: for messages.
std::string Party(const Block& block, uint32_t offset, uint32_t bytes) {
  const auto& async = *static_cast<const AsyncCopies*>(block.async);
  for (size_t index = 0; index < async.warps.size(); ++index) {
    for (const auto& copy : async.warps[index].copies) {
      for (uint32_t lanes = copy->pending; lanes; lanes &= lanes - 1) {
        const int l = std::countr_zero(lanes);
        if (copy->destination[l] >= offset + bytes ||
            offset >= copy->destination[l] + copy->bytes) {
          continue;
        }
        return "the cp.async of PTX line " + std::to_string(copy->inst->ptx_line) + " by thread " +
               std::to_string(block.warps[index].thread(l));
      }
    }
  }
  return "a cp.async";
}

void ReportInFlight(Warp& w, const Inst& i, int lane, uint32_t offset, uint32_t bytes, bool write) {
  const std::string where =
      std::to_string(bytes) + " bytes at shared address " + Hex(offset) + ", to which ";
  if (write) {
    Report(w, i, lane, Check::kRaceShared,
           "store of " + where + Party(*w.block, offset, bytes) + " is in flight");
  } else {
    Report(w, i, lane, Check::kAsyncCopy,
           "load of " + where + Party(*w.block, offset, bytes) + " has not been waited for");
  }
}

// The destinations of lanes, as a write of them now.
void NoteWrite(Warp& w, const AsyncCopy& copy, uint32_t lanes) {
  if (w.block->races == nullptr) return;
  Access access;
  access.space = ptx::Space::kShared;
  access.write = true;
  access.bytes = copy.bytes;
  access.mask = lanes;
  access.first = static_cast<uint32_t>(std::countr_zero(lanes));
  bool unit = lanes == kAllLanes;
  for (uint32_t l = 0; l < kLanes; ++l) {
    access.address[l] = copy.destination[l];
    unit = unit && copy.destination[l] == copy.destination[0] + l * copy.bytes;
  }
  if (unit) access.pattern = Access::Pattern::kUnitStride;
  w.block->races->OnAccess(w, *copy.inst, access);
}

// Lands the lanes of a copy of kBytes; returns those whose source is not what it was.
template <uint32_t kBytes>
uint32_t LandLanes(Block& block, AsyncCopies& async, const AsyncCopy& copy, uint32_t lanes) {
  uint32_t changed = 0, partly = 0;
  ForLanes(lanes, [&](int l) {
    const uint32_t to = copy.destination[l];
    const uint8_t* data = copy.data[l];
    const bool same = copy.read[l] == kBytes
                          ? std::memcmp(copy.source[l], data, kBytes) == 0
                          : copy.read[l] == 0 || !std::memcmp(copy.source[l], data, copy.read[l]);
    changed |= static_cast<uint32_t>(!same) << l;
    std::memcpy(&block.shared[to], data, kBytes);
    std::memset(&block.shared_state[to], kWritten, kBytes);
    std::memset(&async.in_flight[to / kGranule], 0, kBytes / kGranule);
    partly |= static_cast<uint32_t>(copy.unwritten[l] != 0) << l;
  });
  ForLanes(partly, [&](int l) {
    for (uint32_t b = 0; b < kBytes; ++b) {
      if (copy.unwritten[l] >> b & 1) block.shared_state[copy.destination[l] + b] = kUnwritten;
    }
  });
  return changed;
}

void Land(Warp& w, AsyncCopy& copy, uint32_t lanes) {
  Block& block = *w.block;
  auto& async = *static_cast<AsyncCopies*>(block.async);
  NoteWrite(w, copy, lanes);
  const uint32_t changed = copy.bytes == 16  ? LandLanes<16>(block, async, copy, lanes)
                           : copy.bytes == 8 ? LandLanes<8>(block, async, copy, lanes)
                                             : LandLanes<4>(block, async, copy, lanes);
  if (block.races) block.races->OnWritten();
  if (block.follows_writes) {
    ForLanes(lanes,
             [&](int l) { NoteProxyWrite(block, w.thread(l), copy.destination[l], copy.bytes); });
  }
  if (changed) {
    Report(w, *copy.inst, std::countr_zero(changed), Check::kRaceGlobal,
           "the source of a cp.async was written before the copy was waited for");
  }
}

// Puts the lanes' destinations in flight; returns those that were already.
template <uint32_t kBytes>
uint32_t StartLanes(Block& block, AsyncCopies& async, const AsyncCopy& copy) {
  uint32_t twice = 0;
  ForLanes(copy.pending, [&](int l) {
    const uint32_t to = copy.destination[l];
    uint8_t* const flags = &async.in_flight[to / kGranule];
    uint8_t any = 0;
    for (uint32_t g = 0; g < kBytes / kGranule; ++g) any |= flags[g];
    twice |= static_cast<uint32_t>(any != 0) << l;
    std::memset(flags, 1, kBytes / kGranule);
    std::memset(&block.shared_state[to], kUnwritten, kBytes);
  });
  return twice;
}

// Removes lanes from records, those for which of(copy) says so, after done(copy, lanes).
template <class Of, class Done>
void Finish(AsyncCopies& async, AsyncCopies::OfWarp& mine, Of of, Done done) {
  size_t kept = 0;
  for (auto& copy : mine.copies) {
    const uint32_t lanes = copy->pending & of(*copy);
    if (lanes) done(*copy, lanes);
    copy->pending &= ~lanes;
    if (copy->pending) {
      std::swap(mine.copies[kept++], copy);
    } else {
      async.pool.push_back(std::move(copy));
      --async.pending;
    }
  }
  mine.copies.resize(kept);
}

}  // namespace

AsyncCopies& AsyncOf(Block& block) {
  if (block.async == nullptr) block.async = new AsyncCopies;
  auto& async = *static_cast<AsyncCopies*>(block.async);
  if (async.warps.size() < block.warps.size()) async.warps.resize(block.warps.size());
  const size_t granules = block.shared.size() / kGranule + 1;
  if (async.in_flight.size() < granules) async.in_flight.resize(granules);
  return async;
}

AsyncCopy& NewCopy(AsyncCopies& async, uint32_t warp) {
  auto& copies = async.warps[warp].copies;
  if (async.pool.empty()) {
    copies.push_back(std::make_unique<AsyncCopy>());
  } else {
    copies.push_back(std::move(async.pool.back()));
    async.pool.pop_back();
  }
  ++async.pending;
  return *copies.back();
}

void StartCopy(Warp& w, AsyncCopies& async, AsyncCopy& copy) {
  Block& block = *w.block;
  const uint32_t twice = copy.bytes == 16  ? StartLanes<16>(block, async, copy)
                         : copy.bytes == 8 ? StartLanes<8>(block, async, copy)
                                           : StartLanes<4>(block, async, copy);
  if (twice == 0) return;
  const int lane = std::countr_zero(twice);
  ReportInFlight(w, *copy.inst, lane, copy.destination[lane], copy.bytes, true);
}

void WaitCopies(Warp& w, uint32_t lanes, int32_t groups_left) {
  if (w.block->async == nullptr) return;
  auto& async = *static_cast<AsyncCopies*>(w.block->async);
  if (async.pending == 0) return;
  auto& mine = async.warps[w.index];
  Finish(
      async, mine,
      [&](const AsyncCopy& copy) {
        uint32_t due = 0;
        for (int l = 0; l < kLanes; ++l) {
          const auto behind = static_cast<int32_t>(mine.committed[l] - copy.group[l]);
          due |= static_cast<uint32_t>(behind > groups_left) << l;
        }
        return due & lanes;
      },
      [&](AsyncCopy& copy, uint32_t due) { Land(w, copy, due); });
}

void FollowProxyWrites(Block& block, uint32_t threads) {
  ProxyWrites& proxy = AsyncOf(block).proxy;
  proxy.last.resize(block.shared.size() / kGranule + 1);
  proxy.fences.resize(threads);
  block.follows_writes = true;
}

void NoteProxyWrite(Block& block, uint32_t thread, uint32_t offset, uint32_t bytes) {
  if (!block.follows_writes) return;
  ProxyWrites& proxy = static_cast<AsyncCopies*>(block.async)->proxy;
  const uint32_t fences = thread == kNobody ? 0 : proxy.fences[thread];
  for (uint32_t g = offset / kGranule; g <= (offset + bytes - 1) / kGranule; ++g) {
    proxy.last[g] = {thread, fences};
  }
}

uint32_t UnfencedWriter(const Block& block, uint32_t offset, uint32_t bytes) {
  if (!block.follows_writes) return kNobody;
  const ProxyWrites& proxy = static_cast<const AsyncCopies*>(block.async)->proxy;
  for (uint32_t g = offset / kGranule; g <= (offset + bytes - 1) / kGranule; ++g) {
    const ProxyWrites::Last& last = proxy.last[g];
    if (last.thread != kNobody && proxy.fences[last.thread] == last.fences) return last.thread;
  }
  return kNobody;
}

void NoteProxyFence(Warp& w, uint32_t lanes) {
  if (!w.block->follows_writes) return;
  ProxyWrites& proxy = static_cast<AsyncCopies*>(w.block->async)->proxy;
  ForLanes(lanes, [&](int l) { ++proxy.fences[w.thread(l)]; });
}

void CompleteAsync(Warp& w, uint32_t lanes) { WaitCopies(w, lanes, kNoGroupLeft); }

void FreeAsync(Block& block) {
  delete static_cast<AsyncCopies*>(block.async);
  block.async = nullptr;
  block.follows_writes = false;
}

void OnThreadExit(Warp& w, const Inst&, uint32_t lanes) {
  if (w.block->async == nullptr) return;
  auto& async = *static_cast<AsyncCopies*>(w.block->async);
  if (w.index >= async.warps.size()) return;
  auto& mine = async.warps[w.index];
  Finish(
      async, mine, [&](const AsyncCopy&) { return lanes; },
      [&](AsyncCopy& copy, uint32_t left) {
        Report(w, *copy.inst, std::countr_zero(left), Check::kAsyncCopy,
               "a thread exits without having waited for this copy");
        ForLanes(left, [&](int l) {
          std::memset(&async.in_flight[copy.destination[l] / kGranule], 0, copy.bytes / kGranule);
        });
      });
  ForLanes(lanes, [&](int l) { mine.committed[l] = 0; });
  mine.sums.clear();
  mine.operands.clear();
  if (!async.bulk.empty() && w.block->alive == static_cast<uint32_t>(std::popcount(lanes))) {
    ReportBulkCopiesLeft(w);
  }
}

bool InFlight(const Block& block, uint32_t offset, uint32_t bytes) {
  if (block.async == nullptr) return false;
  const auto& async = *static_cast<const AsyncCopies*>(block.async);
  if (async.pending == 0 || bytes == 0) return false;
  const uint8_t* first = &async.in_flight[offset / kGranule];
  const uint8_t* last = &async.in_flight[(offset + bytes - 1) / kGranule];
  uint8_t any = 0;
  for (const uint8_t* flag = first; flag <= last; ++flag) any |= *flag;
  return any != 0;
}

void CheckInFlight(Warp& w, const Inst& i, const Access& access) {
  const auto& async = *static_cast<const AsyncCopies*>(w.block->async);
  if (async.pending == 0) return;
  const auto first = static_cast<uint32_t>(access.address[access.first]);
  if (access.pattern == Access::Pattern::kUnitStride &&
      !InFlight(*w.block, first, kLanes * access.bytes)) {
    return;
  }
  for (uint32_t lanes = access.mask; lanes; lanes &= lanes - 1) {
    const int l = std::countr_zero(lanes);
    const auto offset = static_cast<uint32_t>(access.address[l]);
    if (!InFlight(*w.block, offset, access.bytes)) continue;
    ReportInFlight(w, i, l, offset, access.bytes, access.write);
    return;
  }
}

}  // namespace softgpu
