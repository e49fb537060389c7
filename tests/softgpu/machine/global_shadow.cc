// An entry has four words: the last write, two reads, and the PTX lines of the last write and read
// (for messages only, they may be of other accesses than the records). Words of eight granules lie
// side by side, so that the usual access, whole groups by lanes in order, is compared as vectors.
// Other blocks read and write entries at the same time: a word is loaded and stored as a whole (on
// the machines that this runs on, in vectors, too) and is true by itself; one that gets lost hides
// a race, and never makes one.
//
// A record: warp's number in the process (28 bits), time in its block (23), strength (2), lane (6),
// bytes of the granule (4). The top bit is 0; records of earlier launches are smaller than all of
// this one's.
//
// Of the reads, the second one is of another block than the first if there was any.
#include <algorithm>
#include <bit>
#include <cstring>

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
// Where the words of an entry are.
constexpr int kRead = DeviceMemory::kRaceGroup, kOtherRead = 2 * kRead, kLines = 3 * kRead;

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

// Lines of writes are the first half of a group's last words, those of reads the other one.
uint32_t* LineAt(uint64_t* entry, bool write) {
  constexpr uint64_t kGroup = DeviceMemory::kRaceGroup;
  const uint64_t index = reinterpret_cast<uint64_t>(entry) / sizeof(uint64_t) % kGroup;
  uint32_t* const lines = reinterpret_cast<uint32_t*>(entry - index + kLines);
  return lines + index + (write ? 0 : kGroup);
}
void StoreLine(uint64_t* entry, bool write, uint32_t line) {
  __atomic_store_n(LineAt(entry, write), line, __ATOMIC_RELAXED);
}
uint32_t LineOf(uint64_t* entry, bool write) {
  return __atomic_load_n(LineAt(entry, write), __ATOMIC_RELAXED);
}

// What groups of granules are compared with; signed, because vectors of that compare fast.
struct GroupLimits {
  int64_t first;             // records below are of earlier launches
  int64_t block, block_end;  // records of this block are in here
  int64_t time;              // and ordered up to this one (its bits)
};

// Four granules' words. Comparisons give -1 or 0 each.
constexpr int kVector = 4;
using Vector = int64_t __attribute__((vector_size(kVector * sizeof(int64_t))));
inline Vector LoadVector(const uint64_t* words) {
  Vector v;
  std::memcpy(&v, words, sizeof(v));
  return v;
}
inline bool Any(Vector v) { return (v[0] | v[1] | v[2] | v[3]) != 0; }

// Where the record is not known at once to be ordered before the access or its own thread's, or
// stands for the same time of the warp, so that MergeSame has to look.
inline Vector NeedsLook(Vector record, Vector me, const GroupLimits& limits) {
  constexpr int64_t kThreadBits = static_cast<int64_t>(kNumberBits | kLaneBits);
  constexpr int64_t kTimeBits = int64_t{kMaxTime} << kTimeShift;
  const Vector earlier = record < limits.first;
  const Vector own = ((record ^ me) & kThreadBits) == 0;
  const Vector told = (record >= limits.block) & (record < limits.block_end) &
                      ((record & kTimeBits) <= limits.time);
  return ~(earlier | own | told);
}
inline Vector NeedsMerge(Vector record, Vector me) {
  constexpr int64_t kOwnBits = static_cast<int64_t>(kLaneBits | kStrengthBits | kMaskBits);
  return (((record ^ me) & ~kOwnBits) == 0) & (record != me);
}

GroupLimits LimitsOf(const BlockClocks& clocks, uint32_t warp, uint64_t first, uint64_t block,
                     uint32_t warps) {
  const uint32_t time = std::min(clocks.Floor(warp), clocks.Synced(warp));
  return {static_cast<int64_t>(first << kNumberShift), static_cast<int64_t>(block << kNumberShift),
          static_cast<int64_t>((block + warps) << kNumberShift),
          static_cast<int64_t>(uint64_t{time} << kTimeShift)};
}

// Entries are eight times the data, so they are seldom near: all of an access's are asked for
// first.
template <bool kWrite>
inline void FetchGroup(const uint64_t* entry) {
  __builtin_prefetch(entry, kWrite);
  __builtin_prefetch(entry + kRead, !kWrite);
  __builtin_prefetch(entry + kOtherRead, !kWrite);
  __builtin_prefetch(entry + kLines, 1);
}

// Four granules, the words of whose entries lie side by side. False: they need a closer look.
template <bool kWrite>
inline bool CheckVector(const uint64_t* entry, Vector me, const GroupLimits& limits) {
  const Vector writes = LoadVector(entry);
  if (!kWrite) return !Any(NeedsLook(writes, me, limits));
  return !Any(NeedsLook(writes, me, limits) | NeedsLook(LoadVector(entry + kRead), me, limits) |
              NeedsLook(LoadVector(entry + kOtherRead), me, limits));
}
template <bool kWrite>
inline bool RememberVector(uint64_t* entry, Vector me, uint32_t line, const GroupLimits& limits) {
  uint64_t* const mine = kWrite ? entry : entry + kRead;
  const Vector last = LoadVector(mine);
  if (Any(NeedsMerge(last, me))) return false;
  if (!kWrite) {
    const Vector others = LoadVector(entry + kOtherRead);
    const Vector same = ((last ^ me) & static_cast<int64_t>(kNumberBits)) == 0;
    const Vector stale = last < limits.first;
    const Vector here = (last >= limits.block) & (last < limits.block_end);
    const Vector elsewhere =
        (others >= limits.first) & ((others < limits.block) | (others >= limits.block_end));
    const Vector keep = same | stale | (here & elsewhere);
    const Vector next = (others & keep) | (last & ~keep);
    std::memcpy(entry + kOtherRead, &next, sizeof(next));
  }
  std::memcpy(mine, &me, sizeof(me));
  uint32_t lines[kVector];
  std::fill_n(lines, kVector, line);
  std::memcpy(LineAt(entry, kWrite), lines, sizeof(lines));
  return true;
}

}  // namespace

GlobalShadow::GlobalShadow(DeviceMemory& memory, uint64_t first_number, uint32_t warps)
    : memory_(memory), first_number_(first_number), warps_(warps) {}

void GlobalShadow::Start(uint64_t block) {
  numbered_ = block < kMaxNumber && first_number_ + (block + 1) * warps_ <= kMaxNumber;
  block_number_ = first_number_ + block * warps_;
}

void GlobalShadow::OnAccess(BlockClocks& clocks, uint32_t warp, const Access& access, int line,
                            Conflicts* conflicts) {
  const uint32_t now = clocks.Now(warp);
  if (!numbered_ || clocks.counter() > kMaxTime) return;
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
    if (limits.write) {
      Scattered<true>(clocks, limits, access, conflicts);
    } else {
      Scattered<false>(clocks, limits, access, conflicts);
    }
  } else if (!memory_.Contains(address)) {
    return;  // the host's
  } else if (limits.write) {
    Run<true>(clocks, limits, access, conflicts);
  } else {
    Run<false>(clocks, limits, access, conflicts);
  }
}

// Which of the lanes are not ordered after the record.
uint32_t GlobalShadow::Unordered(BlockClocks& clocks, const Limits& limits, uint64_t record,
                                 uint64_t me, uint32_t lanes) const {
  const Party other = PartyOf(record, clocks.block());
  const uint64_t needed = other.same_block ? 1 : 2;
  if (Strength(record) >= needed && Strength(me) >= needed) return 0;
  const uint32_t w = limits.warp;
  if (other.same_block && other.time <= (other.warp == w ? clocks.Synced(w) : clocks.Floor(w))) {
    return 0;
  }
  uint32_t unordered = 0;
  for (uint32_t m = lanes; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    const bool ordered =
        other.same_block
            ? clocks.Ordered(w, lane, other.warp, other.lane, other.time)
            : clocks.OrderedElsewhere(w, lane, other.block, other.warp, other.lane, other.time);
    if (!ordered) unordered |= 1u << lane;
  }
  return unordered;
}

GlobalShadow::Party GlobalShadow::PartyOf(uint64_t record, uint64_t block) const {
  const uint64_t here = Number(record) - block_number_, all = Number(record) - first_number_;
  Party party;
  party.same_block = here < warps_;
  party.block = party.same_block ? block : all / warps_;
  party.warp = static_cast<uint32_t>(party.same_block ? here : all % warps_);
  party.lane = static_cast<uint32_t>((record & kLaneBits) >> kLaneShift);
  party.time = static_cast<uint32_t>((record >> kTimeShift) & kMaxTime);
  return party;
}

void GlobalShadow::Resolve(BlockClocks& clocks, const Limits& limits, uint64_t address, uint64_t me,
                           uint32_t lanes, Conflicts* conflicts) const {
  const uint64_t first = first_number_ << kNumberShift;
  uint64_t* const entry = memory_.RaceEntry(address);
  const uint64_t code = (me & kLaneBits) >> kLaneShift;
  const uint64_t seen = code >= kSeveralLanes ? (me & ~kLaneBits) | kNoLane : me;
  for (int which = 0; which < (limits.write ? 3 : 1); ++which) {
    const uint64_t record = Load(entry + which * kRead);
    if (!IsSuspect(record, seen, first)) continue;
    // Lanes that cannot be told apart: any record of the warp may be its own.
    if (code == kSomeLanes && ((record ^ me) & kNumberBits) == 0) continue;
    const Party other = PartyOf(record, clocks.block());
    for (uint32_t m = Unordered(clocks, limits, record, me, lanes); m; m &= m - 1) {
      conflicts->Add(static_cast<uint32_t>(std::countr_zero(m)),
                     {address & ~uint64_t{3}, which == 0, other.block, other.warp, other.lane,
                      static_cast<int>(LineOf(entry, which == 0))});
    }
  }
}

void GlobalShadow::RememberRead(uint64_t* entry, uint64_t me) {
  const uint64_t last = Load(entry + kRead);
  if (((last ^ me) & kNumberBits) == 0) {
    Store(entry + kRead, Merge(last, me));
    return;
  }
  if (last < first_number_ << kNumberShift) {
    Store(entry + kRead, me);
    return;
  }
  const uint64_t other = Load(entry + kOtherRead);
  const bool last_here = Number(last) - block_number_ < warps_;
  const bool other_elsewhere =
      other >= first_number_ << kNumberShift && Number(other) - block_number_ >= warps_;
  if (!last_here || !other_elsewhere) Store(entry + kOtherRead, last);
  Store(entry + kRead, me);
}

template <bool kWrite>
inline void GlobalShadow::Check(BlockClocks& clocks, const Limits& limits, uint64_t address,
                                uint64_t me, uint32_t lanes, Conflicts* conflicts) {
  const uint64_t first = first_number_ << kNumberShift;
  uint64_t* const entry = memory_.RaceEntry(address);
  const uint64_t seen =
      (me & kLaneBits) >= uint64_t{kSeveralLanes} << kLaneShift ? (me & ~kLaneBits) | kNoLane : me;
  bool suspect = IsSuspect(Load(entry), seen, first);
  if (kWrite) {
    suspect |= IsSuspect(Load(entry + kRead), seen, first) |
               IsSuspect(Load(entry + kOtherRead), seen, first);
  }
  if (suspect) Resolve(clocks, limits, address, me, lanes, conflicts);
}

template <bool kWrite>
inline void GlobalShadow::Remember(const Limits& limits, uint64_t address, uint64_t me) {
  uint64_t* const entry = memory_.RaceEntry(address);
  if (kWrite) {
    Store(entry, Merge(Load(entry), me));
  } else {
    RememberRead(entry, me);
  }
  StoreLine(entry, kWrite, limits.line);
}

// Consecutive granules of lanes in order, or one lane's for all lanes.
template <bool kWrite>
void GlobalShadow::Run(BlockClocks& clocks, const Limits& limits, const Access& access,
                       Conflicts* conflicts) {
  const uint64_t address = access.address[access.first];
  const bool unit = access.pattern == Access::Pattern::kUnitStride;
  const uint32_t count = std::max(1u, access.bytes * (unit ? kLanes : 1) / 4);
  const bool in_order = unit && access.bytes >= 4;
  uint64_t code = access.first;
  if (unit && !in_order) code = kSomeLanes;
  if (!unit && (access.mask & (access.mask - 1))) code = kSeveralLanes;
  const uint64_t me = limits.me | (code << kLaneShift);
  const int shift = in_order ? std::countr_zero(access.bytes / 4) : 31;
  const GroupLimits group = LimitsOf(clocks, limits.warp, first_number_, block_number_, warps_);
  const bool whole = count % kVector == 0 && address % (4 * kVector) == 0;
  for (uint32_t k = 0; k < count; k += DeviceMemory::kRaceGroup) {
    FetchGroup<kWrite>(memory_.RaceEntry(address + k * 4));
  }
  Vector steps;
  for (int k = 0; k < kVector; ++k) steps[k] = int64_t{k >> shift} << kLaneShift;
  for (uint32_t k = 0; k < count;) {
    const uint64_t mine = me + (uint64_t{k >> shift} << kLaneShift);
    if (whole && k % kVector == 0) {
      uint64_t* const entry = memory_.RaceEntry(address + k * 4);
      const Vector all = steps + static_cast<int64_t>(mine);
      if (CheckVector<kWrite>(entry, all, group) &&
          RememberVector<kWrite>(entry, all, limits.line, group)) {
        k += kVector;
        continue;
      }
    }
    const uint32_t lanes = in_order ? 1u << (k >> shift) : access.mask;
    Check<kWrite>(clocks, limits, address + k * 4, mine, lanes, conflicts);
    Remember<kWrite>(limits, address + k * 4, mine);
    ++k;
  }
}

namespace {

// Lanes of a scattered access, in the order of lanes.
struct Granules {
  uint64_t address[kLanes];
  alignas(32) uint64_t me[kLanes];
  uint32_t lanes[kLanes];
  uint32_t count = 0, bytes;
  // How many of them from the k-th fill 16 aligned bytes, in order; 0: they do not.
  uint32_t InVector(uint32_t k) const {
    const uint32_t n = bytes >= 4 ? 16 / bytes : 0;
    if (n == 0 || k + n > count || address[k] % 16) return 0;
    for (uint32_t j = 1; j < n; ++j) {
      if (address[k + j] != address[k] + j * bytes) return 0;
    }
    return n;
  }
  Vector Records(uint32_t k) const {
    if (bytes == 4) return LoadVector(me + k);
    const int64_t low = static_cast<int64_t>(me[k]);
    const int64_t high = bytes == 8 ? static_cast<int64_t>(me[k + 1]) : low;
    return Vector{low, low, high, high};
  }
};

}  // namespace

template <bool kWrite>
void GlobalShadow::Scattered(BlockClocks& clocks, const Limits& limits, const Access& access,
                             Conflicts* conflicts) {
  Granules all;
  all.bytes = access.bytes;
  for (uint32_t m = access.mask; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    const uint64_t a = AddressOf(access, lane);
    const uint64_t bytes =
        access.bytes < 4 ? (((1u << access.bytes) - 1) << (a & 3)) & kMaskBits : kMaskBits;
    all.address[all.count] = a;
    all.lanes[all.count] = 1u << lane;
    all.me[all.count] = (limits.me & ~kMaskBits) | bytes | uint64_t{lane} << kLaneShift;
    if (!memory_.Contains(a)) continue;
    FetchGroup<kWrite>(memory_.RaceEntry(a));
    ++all.count;
  }
  const GroupLimits group = LimitsOf(clocks, limits.warp, first_number_, block_number_, warps_);
  // First all checks: lanes of one instruction do not race with each other here.
  for (uint32_t k = 0; k < all.count;) {
    const uint32_t n = all.InVector(k);
    if (n && CheckVector<kWrite>(memory_.RaceEntry(all.address[k]), all.Records(k), group)) {
      k += n;
      continue;
    }
    for (uint32_t at = 0; at < access.bytes; at += 4) {
      Check<kWrite>(clocks, limits, all.address[k] + at, all.me[k], all.lanes[k], conflicts);
    }
    ++k;
  }
  for (uint32_t k = 0; k < all.count;) {
    const uint32_t n = all.InVector(k);
    if (n && RememberVector<kWrite>(memory_.RaceEntry(all.address[k]), all.Records(k), limits.line,
                                    group)) {
      k += n;
      continue;
    }
    for (uint32_t at = 0; at < access.bytes; at += 4) {
      Remember<kWrite>(limits, all.address[k] + at, all.me[k]);
    }
    ++k;
  }
}

}  // namespace softgpu
