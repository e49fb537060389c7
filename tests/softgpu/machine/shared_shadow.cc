// Of reads, the last one and the last one of another warp are kept. With barriers of the whole
// block that is as good as all: if any other warp has read since the last barrier, so has the one
// of these two that is not the writer's.
#include <algorithm>
#include <bit>
#include <cstring>
#include <type_traits>

#include "tests/softgpu/machine/shadow.h"
#include "tests/softgpu/machine/shared_record.h"

namespace softgpu {

using namespace shared_record;

SharedShadow::SharedShadow(uint32_t bytes, int granule_log2)
    : granule_log2_(granule_log2), count_((bytes + 15) >> granule_log2) {
  for (auto* records : {&writes_, &reads_, &other_reads_, &write_lines_, &read_lines_}) {
    records->assign(count_, 0);
  }
}

void SharedShadow::Start() {
  offset_ += static_cast<int32_t>(block_counter_);
  block_counter_ = 0;
}

// Times have run out: forgets all records.
void SharedShadow::Rebase(BlockClocks& clocks) {
  for (auto* records : {&writes_, &reads_, &other_reads_}) {
    std::fill(records->begin(), records->end(), 0);
  }
  offset_ = 1 - static_cast<int32_t>(clocks.counter());
}

void SharedShadow::OnAccess(BlockClocks& clocks, uint32_t warp, const Access& access, int line,
                            Conflicts* conflicts) {
  const int32_t now = static_cast<int32_t>(clocks.Now(warp));
  block_counter_ = std::max(block_counter_, clocks.counter());
  if (offset_ + static_cast<int32_t>(block_counter_) > kMaxTime) Rebase(clocks);
  const auto limit = [&](uint32_t time) {
    return std::max(0, static_cast<int32_t>(time) + offset_ + 1) << kTimeShift;
  };
  Limits limits;
  limits.warp = warp;
  limits.me = (std::max(0, now + offset_) << kTimeShift) |
              static_cast<int32_t>(warp << kWarpShift) |
              (access.order == Order::kWeak ? 0 : kStrongBit);
  limits.ordered = limit(clocks.Floor(warp));
  limits.own = limit(clocks.Synced(warp));
  limits.write = access.write || access.atomic;
  limits.several = false;
  if (access.pattern == Access::Pattern::kScattered) {
    Scattered(clocks, limits, access, line, conflicts);
    return;
  }
  Run run = RunOf(access, access.first);
  if (access.pattern == Access::Pattern::kUnitStride) {
    run.shift = std::countr_zero(run.count);
    run.count *= kLanes;
    run.first_lane = 0;
  } else {
    limits.several = (access.mask & (access.mask - 1)) != 0;
  }
  if (run.first + run.count > count_) return;
  if (run.count == 1 && !limits.write) {
    ReadOne(clocks, limits, run, access, line, conflicts);
    return;
  }
  if (!limits.several && TakeFreshRun(limits, run, line)) return;
  if (Suspect(limits, run)) Resolve(clocks, limits, run, access, conflicts);
  Remember(limits, run, line);
}

// What inner loops of matrix products do most: a word that all lanes read.
void SharedShadow::ReadOne(BlockClocks& clocks, const Limits& limits, const Run& run,
                           const Access& access, int line, Conflicts* conflicts) {
  const uint32_t g = run.first;
  const int32_t lane = static_cast<int32_t>(limits.several ? kSeveralLanes : run.first_lane);
  const int32_t me = limits.me | lane;
  const int32_t seen = limits.several ? limits.me | kNoLane : me;
  if (IsSuspect(writes_[g], seen, limits.ordered, limits.own)) {
    Resolve(clocks, limits, run, access, conflicts);
  }
  const int32_t old = reads_[g];
  if ((old ^ me) & kWarpBits) other_reads_[g] = old;
  reads_[g] = Merge(old, me);
  read_lines_[g] = line;
}

// TakeFresh for granules in a row.
bool SharedShadow::TakeFreshRun(const Limits& limits, const Run& run, int line) {
  if (run.count % 8) return false;
  int32_t* const writes = &writes_[run.first];
  int32_t* const reads = &reads_[run.first];
  int32_t* const others = &other_reads_[run.first];
  Eight look{};
  for (uint32_t k = 0; k < run.count; k += 8) {
    const Eight read = LoadPack<Eight>(reads + k);
    look |= LoadPack<Eight>(writes + k) >= limits.ordered;
    look |= limits.write
                ? (read >= limits.ordered) | (LoadPack<Eight>(others + k) >= limits.ordered)
                : ((read ^ limits.me) & ~(kLaneBits | kStrongBit)) == 0;
  }
  if (Any(look)) return false;
  const int32_t me = limits.me | static_cast<int32_t>(run.first_lane);
  Eight steps;
  for (int k = 0; k < 8; ++k) steps[k] = k >> run.shift;
  int32_t* const lines = limits.write ? &write_lines_[run.first] : &read_lines_[run.first];
  for (uint32_t k = 0; k < run.count; k += 8) {
    const Eight mine = steps + (me + static_cast<int32_t>(k >> run.shift));
    if (!limits.write) {
      const Eight old = LoadPack<Eight>(reads + k);
      const Eight same_warp = ((old ^ mine) & kWarpBits) == 0;
      StorePack<Eight>(others + k, (LoadPack<Eight>(others + k) & same_warp) | (old & ~same_warp));
    }
    StorePack<Eight>((limits.write ? writes : reads) + k, mine);
    StorePack<Eight>(lines + k, Eight{} + line);
  }
  return true;
}

SharedShadow::Run SharedShadow::RunOf(const Access& access, uint32_t lane) const {
  const uint32_t first = static_cast<uint32_t>(access.address[lane] >> granule_log2_);
  return {first, std::max(1u, access.bytes >> granule_log2_), lane, 31};
}

bool SharedShadow::Suspect(const Limits& limits, const Run& run) const {
  const int32_t* const writes = &writes_[run.first];
  const int32_t* const reads = &reads_[run.first];
  const int32_t* const others = &other_reads_[run.first];
  const int32_t lane = limits.several ? kNoLane : static_cast<int32_t>(run.first_lane);
  const int32_t me = limits.me | lane, ordered = limits.ordered, own = limits.own;
  const int32_t count = static_cast<int32_t>(run.count);
  const int shift = run.shift;
  int32_t suspect = 0;
  if (limits.write) {
    for (int32_t k = 0; k < count; ++k) {
      const int32_t m = me + (k >> shift);
      suspect |= IsSuspect(writes[k], m, ordered, own) | IsSuspect(reads[k], m, ordered, own) |
                 IsSuspect(others[k], m, ordered, own);
    }
  } else {
    for (int32_t k = 0; k < count; ++k) {
      suspect |= IsSuspect(writes[k], me + (k >> shift), ordered, own);
    }
  }
  return suspect != 0;
}

void SharedShadow::Resolve(BlockClocks& clocks, const Limits& limits, const Run& run,
                           const Access& access, Conflicts* conflicts) const {
  for (uint32_t k = 0; k < run.count; ++k) {
    const uint32_t lane = run.first_lane + (k >> run.shift);
    const int32_t me = limits.me | (limits.several ? kNoLane : static_cast<int32_t>(lane));
    const uint32_t g = run.first + k;
    const int32_t records[3] = {writes_[g], reads_[g], other_reads_[g]};
    for (int which = 0; which < (limits.write ? 3 : 1); ++which) {
      const int32_t record = records[which];
      if (!IsSuspect(record, me, limits.ordered, limits.own)) continue;
      const uint32_t other_warp = static_cast<uint32_t>((record & kWarpBits) >> kWarpShift);
      const uint32_t other_lane = static_cast<uint32_t>(record & kLaneBits);
      const uint32_t time = static_cast<uint32_t>((record >> kTimeShift) - offset_);
      for (uint32_t m = limits.several ? access.mask : 1u << lane; m; m &= m - 1) {
        const uint32_t l = static_cast<uint32_t>(std::countr_zero(m));
        if (clocks.Ordered(limits.warp, l, other_warp, other_lane, time)) continue;
        conflicts->Add(l, {uint64_t{g} << granule_log2_, which == 0, clocks.block(), other_warp,
                           other_lane, which == 0 ? write_lines_[g] : read_lines_[g]});
      }
    }
  }
}

void SharedShadow::Remember(const Limits& limits, const Run& run, int line) {
  const int32_t lane = static_cast<int32_t>(limits.several ? kSeveralLanes : run.first_lane);
  const int32_t me = limits.me | lane;
  const int32_t count = static_cast<int32_t>(run.count);
  const int shift = run.shift;
  if (limits.write) {
    int32_t* const writes = &writes_[run.first];
    for (int32_t k = 0; k < count; ++k) writes[k] = Merge(writes[k], me + (k >> shift));
    std::fill_n(&write_lines_[run.first], count, line);
    return;
  }
  int32_t* const reads = &reads_[run.first];
  int32_t* const others = &other_reads_[run.first];
#pragma GCC ivdep
  for (int32_t k = 0; k < count; ++k) {
    const int32_t old = reads[k];
    const int32_t m = me + (k >> shift);
    others[k] = ((old ^ m) & kWarpBits) == 0 ? others[k] : old;
    reads[k] = Merge(old, m);
  }
  std::fill_n(&read_lines_[run.first], count, line);
}

namespace {

// G granules a lane, of lanes at any places, taken together so that they are compared as vectors.
template <uint32_t G>
struct Gathered {
  int32_t me[kLanes * G], writes[kLanes * G], reads[kLanes * G], others[kLanes * G];
};
template <uint32_t G>
void Gather(const std::vector<int32_t>& records, const uint32_t* at, uint32_t lanes, int32_t* out) {
  for (uint32_t k = 0; k < lanes; ++k) std::memcpy(out + k * G, &records[at[k]], G * 4);
}
template <uint32_t G>
void Scatter(const int32_t* values, const uint32_t* at, uint32_t lanes,
             std::vector<int32_t>& records) {
  for (uint32_t k = 0; k < lanes; ++k) std::memcpy(&records[at[k]], values + k * G, G * 4);
}
// Granules that another lane has overwritten since: both lanes'. Lanes are aligned to their bytes,
// so they overlap wholly or not at all.
template <uint32_t G>
void ShareTouched(const int32_t* values, const uint32_t* at, uint32_t lanes,
                  std::vector<int32_t>& records) {
  int32_t lost = 0;
  for (uint32_t k = 0; k < lanes; ++k) lost |= records[at[k]] ^ values[k * G];
  if (!lost) return;
  for (uint32_t k = 0; k < lanes; ++k) {
    for (uint32_t g = 0; g < G; ++g) {
      int32_t& record = records[at[k] + g];
      if (record == values[k * G + g]) continue;
      record = (record & ~kLaneBits) | static_cast<int32_t>(kSeveralLanes);
    }
  }
}

}  // namespace

// The usual access: after a barrier behind what conflicts with it, a read not the warp's second one
// since. False: nothing is done.
template <uint32_t G, bool kWrite>
bool SharedShadow::TakeFresh(const Limits& limits, const uint32_t* at, const int32_t* me,
                             uint32_t lanes, int line) {
  using Pack = std::conditional_t<G % 4 == 0, Four, int32_t>;
  constexpr uint32_t kStep = sizeof(Pack) / sizeof(int32_t);
  int32_t* const writes = writes_.data();
  int32_t* const reads = reads_.data();
  int32_t* const others = other_reads_.data();
  Pack look{};
  for (uint32_t k = 0; k < lanes; ++k) {
    for (uint32_t j = 0; j < G; j += kStep) {
      const size_t g = size_t{at[k]} + j;
      const Pack read = LoadPack<Pack>(reads + g);
      look |= AtLeast(LoadPack<Pack>(writes + g), limits.ordered);
      look |= kWrite ? AtLeast(read, limits.ordered) |
                           AtLeast(LoadPack<Pack>(others + g), limits.ordered)
                     : IsZero((read ^ limits.me) & ~(kLaneBits | kStrongBit));
    }
  }
  if (AnyNegative(look)) return false;
  int32_t* const records = kWrite ? writes : reads;
  int32_t* const lines = kWrite ? write_lines_.data() : read_lines_.data();
  for (uint32_t k = 0; k < lanes; ++k) {
    const Pack mine = Pack{} + me[k];
    for (uint32_t j = 0; j < G; j += kStep) {
      const size_t g = size_t{at[k]} + j;
      if (!kWrite) {
        const Pack old = LoadPack<Pack>(reads + g), other = LoadPack<Pack>(others + g);
        StorePack<Pack>(others + g, ((old ^ mine) & kWarpBits) == 0 ? other : old);
      }
      StorePack<Pack>(records + g, mine);
      StorePack<Pack>(lines + g, Pack{} + line);
    }
  }
  int32_t lost = 0;
  for (uint32_t k = 0; k < lanes; ++k) {
    lost |= records[at[k]] ^ me[k];
  }
  for (uint32_t k = 0; lost && k < lanes; ++k) {
    if (records[at[k]] == me[k]) continue;
    for (uint32_t g = at[k]; g < at[k] + G; ++g) {
      records[g] = (records[g] & ~kLaneBits) | static_cast<int32_t>(kSeveralLanes);
    }
  }
  return true;
}

template <uint32_t G>
void SharedShadow::Scattered(BlockClocks& clocks, const Limits& limits, const Access& access,
                             int line, Conflicts* conflicts) {
  uint32_t at[kLanes], lane_of[kLanes], lanes = kLanes, end = 0;
  for (uint32_t l = 0; l < kLanes; ++l) {
    at[l] = static_cast<uint32_t>(access.address[l] >> granule_log2_);
    lane_of[l] = l;
    end = std::max(end, at[l]);
  }
  if (access.mask != kAllLanes || end + G > count_) {
    lanes = 0;
    for (uint32_t m = access.mask; m; m &= m - 1) {
      const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
      at[lanes] = at[lane];
      lane_of[lanes] = lane;
      lanes += at[lanes] + G <= count_;
    }
  }
  int32_t me[kLanes];
  for (uint32_t k = 0; k < kLanes; ++k) me[k] = limits.me | static_cast<int32_t>(lane_of[k]);
  if (limits.write ? TakeFresh<G, true>(limits, at, me, lanes, line)
                   : TakeFresh<G, false>(limits, at, me, lanes, line)) {
    return;
  }
  Gathered<G> all;
  const uint32_t n = lanes * G;
  for (uint32_t k = 0; k < n; ++k) all.me[k] = me[k / G];
  // All checks come before any record: lanes of one instruction do not race with each other here.
  Gather<G>(writes_, at, lanes, all.writes);
  Gather<G>(reads_, at, lanes, all.reads);
  int32_t suspect = 0;
  for (uint32_t k = 0; k < n; ++k) {
    suspect |= IsSuspect(all.writes[k], all.me[k], limits.ordered, limits.own);
  }
  Gather<G>(other_reads_, at, lanes, all.others);
  if (limits.write) {
    for (uint32_t k = 0; k < n; ++k) {
      suspect |= IsSuspect(all.reads[k], all.me[k], limits.ordered, limits.own) |
                 IsSuspect(all.others[k], all.me[k], limits.ordered, limits.own);
    }
  }
  for (uint32_t k = 0; suspect && k < lanes; ++k) {
    Resolve(clocks, limits, {at[k], G, lane_of[k], 31}, access, conflicts);
  }
  std::vector<int32_t>& records = limits.write ? writes_ : reads_;
  const int32_t* const old = limits.write ? all.writes : all.reads;
  if (!limits.write) {
    for (uint32_t k = 0; k < n; ++k) {
      const bool same_warp = ((all.reads[k] ^ all.me[k]) & kWarpBits) == 0;
      all.others[k] = same_warp ? all.others[k] : all.reads[k];
    }
    Scatter<G>(all.others, at, lanes, other_reads_);
  }
  for (uint32_t k = 0; k < n; ++k) all.me[k] = Merge(old[k], all.me[k]);
  Scatter<G>(all.me, at, lanes, records);
  ShareTouched<G>(all.me, at, lanes, records);
  std::vector<int32_t>& lines = limits.write ? write_lines_ : read_lines_;
  for (uint32_t k = 0; k < lanes; ++k) {
    for (uint32_t g = 0; g < G; ++g) lines[at[k] + g] = line;
  }
}

void SharedShadow::Scattered(BlockClocks& clocks, const Limits& limits, const Access& access,
                             int line, Conflicts* conflicts) {
  switch (access.bytes >> granule_log2_) {
    case 0:
    case 1:
      Scattered<1>(clocks, limits, access, line, conflicts);
      break;
    case 2:
      Scattered<2>(clocks, limits, access, line, conflicts);
      break;
    case 4:
      Scattered<4>(clocks, limits, access, line, conflicts);
      break;
    case 8:
      Scattered<8>(clocks, limits, access, line, conflicts);
      break;
    default:
      Scattered<16>(clocks, limits, access, line, conflicts);
      break;
  }
}

}  // namespace softgpu
