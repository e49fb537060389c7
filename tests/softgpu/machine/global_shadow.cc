// An entry has four words: the last write, two reads, and the PTX lines of the last write and read
// (for messages only, they may be of other accesses than the records). Other blocks read and write
// entries at the same time: each word is loaded and stored as a whole and is true by itself; one
// that gets lost hides a race, and never makes one.
//
// A record: warp's number in the process (28 bits), time in its block (23), strength (2), lane (6),
// bytes of the granule (4). The top bit is 0; records of earlier launches are smaller than all of
// this one's.
//
// Of the reads, the second one is of another block than the first if there was any.
#include <algorithm>
#include <bit>

#include "tests/softgpu/machine/shadow.h"

namespace softgpu {
namespace {

constexpr int kLaneShift = 4, kStrengthShift = 10, kTimeShift = 12, kNumberShift = 35;
constexpr uint64_t kMaskBits = 15;
constexpr uint64_t kLaneBits = uint64_t{63} << kLaneShift;
constexpr uint64_t kStrengthBits = uint64_t{3} << kStrengthShift;
constexpr uint64_t kNumberBits = ~uint64_t{0} << kNumberShift;
constexpr uint32_t kMaxTime = (1u << 23) - 1;
constexpr uint64_t kNoLane = uint64_t{63} << kLaneShift;

uint64_t Load(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
void Store(uint64_t* word, uint64_t value) { __atomic_store_n(word, value, __ATOMIC_RELAXED); }

uint64_t Number(uint64_t record) { return record >> kNumberShift; }
uint64_t Strength(uint64_t record) { return (record & kStrengthBits) >> kStrengthShift; }

// Of this launch, by another thread, and on the same bytes.
inline bool IsSuspect(uint64_t record, uint64_t me, uint64_t first) {
  return (record >= first) & (((record ^ me) & (kNumberBits | kLaneBits)) != 0) &
         ((record & me & kMaskBits) != 0);
}

// Two accesses of one warp at one time: a record that stands for both.
uint64_t MergeSame(uint64_t old, uint64_t me) {
  const uint64_t both = (old | me) & kMaskBits;
  const uint64_t strength = std::min(old & kStrengthBits, me & kStrengthBits);
  uint64_t lane = me & kLaneBits;
  if (lane != (old & kLaneBits)) {
    const bool all = (old & kMaskBits) == (me & kMaskBits);
    lane = uint64_t{all ? kSeveralLanes : kSomeLanes} << kLaneShift;
  }
  return (me & ~(kLaneBits | kStrengthBits)) | both | strength | lane;
}

inline uint64_t Merge(uint64_t old, uint64_t me) {
  const bool same = ((old ^ me) & ~(kLaneBits | kStrengthBits | kMaskBits)) == 0;
  return same && old != me ? MergeSame(old, me) : me;
}

void StoreLine(uint64_t* entry, bool write, uint32_t line) {
  uint32_t* const lines = reinterpret_cast<uint32_t*>(entry + 3);
  __atomic_store_n(lines + (write ? 0 : 1), line, __ATOMIC_RELAXED);
}
uint32_t LineOf(uint64_t* entry, bool write) {
  uint32_t* const lines = reinterpret_cast<uint32_t*>(entry + 3);
  return __atomic_load_n(lines + (write ? 0 : 1), __ATOMIC_RELAXED);
}

}  // namespace

GlobalShadow::GlobalShadow(DeviceMemory& memory, uint64_t first_number, uint32_t warps)
    : memory_(memory), first_number_(first_number), warps_(warps) {}

void GlobalShadow::Start(uint64_t block) {
  numbered_ = block < kMaxNumber && first_number_ + (block + 1) * warps_ <= kMaxNumber;
  block_number_ = first_number_ + block * warps_;
}

bool GlobalShadow::OnAccess(BlockClocks& clocks, uint32_t warp, const Access& access, int line,
                            Conflict* conflict) {
  const uint32_t now = clocks.Now(warp);
  if (!numbered_ || clocks.counter() > kMaxTime) return false;
  const uint64_t strength = access.order == Order::kWeak    ? 0
                            : access.scope == Scope::kBlock ? 1
                                                            : 2;
  Limits limits;
  limits.me = ((block_number_ + warp) << kNumberShift) | (uint64_t{now} << kTimeShift) |
              (strength << kStrengthShift) | kMaskBits;
  limits.warp = warp;
  limits.line = static_cast<uint32_t>(line);
  limits.write = access.write || access.atomic;
  const uint64_t address = access.address[access.first];
  const bool words =
      access.bytes >= 4 || (access.pattern == Access::Pattern::kUnitStride && address % 4 == 0);
  if (access.pattern == Access::Pattern::kScattered || !words) {
    return limits.write ? Scattered<true>(clocks, limits, access, conflict)
                        : Scattered<false>(clocks, limits, access, conflict);
  }
  if (!memory_.Contains(address)) return false;  // the host's
  return limits.write ? Run<true>(clocks, limits, access, conflict)
                      : Run<false>(clocks, limits, access, conflict);
}

// Fills *conflict where the record and the lanes' new access are not ordered.
bool GlobalShadow::Ordered(BlockClocks& clocks, const Limits& limits, uint64_t record, uint64_t me,
                           uint32_t lanes, Conflict* conflict) const {
  const uint64_t number = Number(record) - block_number_;
  const bool same_block = number < warps_;
  const uint32_t time = static_cast<uint32_t>((record >> kTimeShift) & kMaxTime);
  const uint64_t needed = same_block ? 1 : 2;
  if (Strength(record) >= needed && Strength(me) >= needed) return true;
  const uint32_t other_lane = static_cast<uint32_t>((record & kLaneBits) >> kLaneShift);
  const uint64_t other = Number(record) - first_number_;
  const uint64_t other_block = same_block ? clocks.block() : other / warps_;
  const uint32_t other_warp = static_cast<uint32_t>(same_block ? number : other % warps_);
  if (same_block && time <= (other_warp == limits.warp ? clocks.Synced(limits.warp)
                                                       : clocks.Floor(limits.warp))) {
    return true;
  }
  for (uint32_t m = lanes; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    const bool ordered =
        same_block
            ? clocks.Ordered(limits.warp, lane, other_warp, other_lane, time)
            : clocks.OrderedElsewhere(limits.warp, lane, other_block, other_warp, other_lane, time);
    if (ordered) continue;
    conflict->lane = lane;
    conflict->other_block = other_block;
    conflict->other_warp = other_warp;
    conflict->other_lane = other_lane;
    return false;
  }
  return true;
}

bool GlobalShadow::Resolve(BlockClocks& clocks, const Limits& limits, uint64_t* entry, uint64_t me,
                           uint32_t lanes, Conflict* conflict) {
  const uint64_t first = first_number_ << kNumberShift;
  // Lanes that cannot be told apart: any record of the warp may be its own.
  const uint64_t seen =
      ((me & kLaneBits) >> kLaneShift) == kSeveralLanes ? (me & ~kLaneBits) | kNoLane : me;
  for (int which = 0; which < (limits.write ? 3 : 1); ++which) {
    const uint64_t record = Load(entry + which);
    if (!IsSuspect(record, seen, first)) continue;
    const bool some = ((me & kLaneBits) >> kLaneShift) == kSomeLanes;
    if (some && ((record ^ me) & kNumberBits) == 0) continue;
    if (Ordered(clocks, limits, record, me, lanes, conflict)) continue;
    conflict->other_writes = which == 0;
    conflict->other_line = static_cast<int>(LineOf(entry, which == 0));
    return true;
  }
  return false;
}

void GlobalShadow::RememberRead(uint64_t* entry, uint64_t me) {
  const uint64_t last = Load(entry + 1);
  if (((last ^ me) & kNumberBits) == 0) {
    Store(entry + 1, Merge(last, me));
    return;
  }
  if (last < first_number_ << kNumberShift) {
    Store(entry + 1, me);
    return;
  }
  const uint64_t other = Load(entry + 2);
  const bool last_here = Number(last) - block_number_ < warps_;
  const bool other_elsewhere =
      other >= first_number_ << kNumberShift && Number(other) - block_number_ >= warps_;
  if (!last_here || !other_elsewhere) Store(entry + 2, last);
  Store(entry + 1, me);
}

template <bool kWrite>
inline bool GlobalShadow::Granule(BlockClocks& clocks, const Limits& limits, uint64_t* entry,
                                  uint64_t me, uint32_t lanes, Conflict* conflict) {
  const uint64_t first = first_number_ << kNumberShift;
  const uint64_t seen =
      (me & kLaneBits) >= uint64_t{kSeveralLanes} << kLaneShift ? (me & ~kLaneBits) | kNoLane : me;
  bool suspect = IsSuspect(Load(entry), seen, first);
  if (kWrite) {
    suspect |= IsSuspect(Load(entry + 1), seen, first) | IsSuspect(Load(entry + 2), seen, first);
  }
  return suspect && Resolve(clocks, limits, entry, me, lanes, conflict);
}

// Consecutive granules of lanes in order, or one lane's for all lanes.
template <bool kWrite>
bool GlobalShadow::Run(BlockClocks& clocks, const Limits& limits, const Access& access,
                       Conflict* conflict) {
  const uint64_t address = access.address[access.first];
  uint64_t* entry = memory_.RaceEntry(address);
  const bool unit = access.pattern == Access::Pattern::kUnitStride;
  const uint32_t count = std::max(1u, access.bytes * (unit ? kLanes : 1) / 4);
  const uint32_t each = unit ? access.bytes / 4 : 0;  // 0: granules of several lanes
  uint64_t code = access.first;
  if (unit && each == 0) code = kSomeLanes;
  if (!unit && (access.mask & (access.mask - 1))) code = kSeveralLanes;
  uint64_t me = limits.me | (code << kLaneShift);
  const uint32_t in_lane = each ? each : count;
  bool found = false;
  for (uint32_t k = 0; k < count; k += in_lane, me += uint64_t{1} << kLaneShift) {
    const uint32_t lanes = each ? 1u << (k / in_lane) : access.mask;
    for (uint32_t g = 0; g < in_lane; ++g, entry += DeviceMemory::kRaceWords) {
      if (Granule<kWrite>(clocks, limits, entry, me, lanes, conflict) && !found) {
        found = true;
        conflict->address = address + (k + g) * 4;
      }
      if (kWrite) {
        Store(entry, Merge(Load(entry), me));
      } else {
        RememberRead(entry, me);
      }
      StoreLine(entry, kWrite, limits.line);
    }
  }
  return found;
}

template <bool kWrite>
bool GlobalShadow::Scattered(BlockClocks& clocks, const Limits& limits, const Access& access,
                             Conflict* conflict) {
  const bool uniform = access.pattern == Access::Pattern::kUniform;
  const bool unit = access.pattern == Access::Pattern::kUnitStride;
  bool found = false;
  // First all checks: lanes of one instruction do not race with each other here.
  for (int pass = 0; pass < 2; ++pass) {
    for (uint32_t m = access.mask; m; m &= m - 1) {
      const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
      const uint64_t address = uniform ? access.address[access.first]
                               : unit  ? access.address[0] + lane * access.bytes
                                       : access.address[lane];
      if (!memory_.Contains(address)) continue;
      const uint64_t bytes =
          access.bytes < 4 ? (((1u << access.bytes) - 1) << (address & 3)) & kMaskBits : kMaskBits;
      const uint64_t me = (limits.me & ~kMaskBits) | bytes | uint64_t{lane} << kLaneShift;
      uint64_t* entry = memory_.RaceEntry(address);
      for (uint32_t at = 0; at < access.bytes; at += 4, entry += DeviceMemory::kRaceWords) {
        if (pass == 0) {
          if (!found && Granule<kWrite>(clocks, limits, entry, me, 1u << lane, conflict)) {
            found = true;
            conflict->address = (address & ~uint64_t{3}) + at;
          }
          continue;
        }
        if (kWrite) {
          Store(entry, Merge(Load(entry), me));
        } else {
          RememberRead(entry, me);
        }
        StoreLine(entry, kWrite, limits.line);
      }
    }
  }
  return found;
}

}  // namespace softgpu
