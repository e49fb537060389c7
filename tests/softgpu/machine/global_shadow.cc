// Accesses to global memory against the records of others: see global_record.h. Chunks first, four
// at a time where they lie side by side, then one by one; what they have no answer for goes to
// their granules.
#include <algorithm>
#include <bit>

#include "tests/softgpu/machine/global_group.h"
#include "tests/softgpu/machine/global_pieces.h"
#include "tests/softgpu/machine/shadow.h"

namespace softgpu {

using namespace global_record;

struct GlobalShadow::Limits {
  uint64_t me;  // record of lane 0, all 4 bytes
  uint64_t first;
  uint32_t warp;
  uint32_t line;
  uint32_t mask;  // lanes
  GroupLimits group;
};

namespace {

// Lanes that a record of the access stands for.
uint32_t LanesOf(uint64_t me, uint32_t mask) {
  const uint64_t code = (me & kLaneBits) >> kLaneShift;
  return code < kLanes ? 1u << code : mask;
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
  if (!numbered_ || clocks.counter() >= kMaxTime) return;
  const uint64_t strength = access.order == Order::kWeak    ? 0
                            : access.scope == Scope::kBlock ? 1
                                                            : 2;
  Limits limits;
  limits.me = ((block_number_ + warp) << kNumberShift) | (uint64_t{now} << kTimeShift) |
              (strength << kStrengthShift) | kMaskBits;
  limits.first = first_number_ << kNumberShift;
  limits.warp = warp;
  limits.line = static_cast<uint32_t>(line);
  limits.mask = access.mask;
  limits.group = LimitsOf(clocks, warp, first_number_, block_number_, warps_);
  const bool write = access.write || access.atomic;
  const uint64_t address = access.address[access.first];
  const bool words =
      access.bytes >= 4 || (access.pattern == Access::Pattern::kUnitStride && address % 4 == 0);
  if (access.pattern == Access::Pattern::kScattered || !words) {
    if (write) {
      Scattered<true>(clocks, limits, access, conflicts);
    } else {
      Scattered<false>(clocks, limits, access, conflicts);
    }
  } else if (!memory_.Contains(address)) {
    return;  // the host's
  } else if (write) {
    Run<true>(clocks, limits, access, conflicts);
  } else {
    Run<false>(clocks, limits, access, conflicts);
  }
}

// Which of the lanes are not ordered after the record.
uint32_t GlobalShadow::Unordered(BlockClocks& clocks, const Limits& limits, uint64_t record,
                                 uint64_t me) const {
  if (IsFine(clocks, limits, record, me)) return 0;
  const Party other = PartyOf(record, clocks.block());
  const uint32_t w = limits.warp;
  uint32_t unordered = 0;
  for (uint32_t m = LanesOf(me, limits.mask); m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    const bool ordered =
        other.same_block
            ? clocks.Ordered(w, lane, other.warp, other.lane, Time(record))
            : clocks.OrderedElsewhere(w, lane, other.block, other.warp, other.lane, Time(record));
    if (!ordered) unordered |= 1u << lane;
  }
  return unordered;
}

// Both strong, or ordered by what whole warps of the block know.
bool GlobalShadow::IsFine(const BlockClocks& clocks, const Limits& limits, uint64_t record,
                          uint64_t me) const {
  const uint64_t warp = Number(record) - block_number_;
  const bool same_block = warp < warps_;
  const uint64_t needed = same_block ? 1 : 2;
  if (Strength(record) >= needed && Strength(me) >= needed) return true;
  const uint32_t w = limits.warp;
  return same_block && Time(record) <= (warp == w ? clocks.Synced(w) : clocks.Floor(w));
}

GlobalShadow::Party GlobalShadow::PartyOf(uint64_t record, uint64_t block) const {
  const uint64_t here = Number(record) - block_number_, all = Number(record) - first_number_;
  Party party;
  party.same_block = here < warps_;
  party.block = party.same_block ? block : all / warps_;
  party.warp = static_cast<uint32_t>(party.same_block ? here : all % warps_);
  party.lane = static_cast<uint32_t>((record & kLaneBits) >> kLaneShift);
  return party;
}

// --- Granules ----------------------------------------------------------------------------------

// The entry of the granule; its chunk is opened.
uint64_t* GlobalShadow::Granule(const Limits& limits, uint64_t address) const {
  uint64_t* const chunk = memory_.RaceChunk(address);
  uint64_t* const group = memory_.RaceGranule(address & ~(kChunk - 1));
  const uint64_t opened = limits.first | kOpened;
  bool fresh = false;
  for (const int word : {0, kRead, kOtherRead}) {
    for (uint64_t record = Load(chunk + word); record != opened;) {
      StoreVector(group + word, record < limits.first ? Vector{} : Granules(record));
      if (__atomic_compare_exchange_n(chunk + word, &record, opened, false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED)) {
        record = opened;
        fresh = true;
      }
    }
  }
  if (fresh) {
    for (const bool write : {false, true}) StoreLines(group, write, LineOf(chunk, write));
  }
  return group + address % kChunk / 4;
}

void GlobalShadow::Resolve(BlockClocks& clocks, const Limits& limits, uint64_t address, uint64_t me,
                           bool write, Conflicts* conflicts) const {
  uint64_t* const entry = Granule(limits, address);
  const uint64_t code = (me & kLaneBits) >> kLaneShift;
  const uint64_t seen = code >= kSeveralLanes ? (me & ~kLaneBits) | kNoLane : me;
  for (int which = 0; which < (write ? 3 : 1); ++which) {
    const uint64_t record = Load(entry + which * kRead);
    if (!IsSuspect(record, seen, limits.first)) continue;
    // Lanes that cannot be told apart: any record of the warp may be its own.
    if (code == kSomeLanes && ((record ^ me) & kNumberBits) == 0) continue;
    const Party other = PartyOf(record, clocks.block());
    for (uint32_t m = Unordered(clocks, limits, record, me); m; m &= m - 1) {
      conflicts->Add(static_cast<uint32_t>(std::countr_zero(m)),
                     {address & ~uint64_t{3}, which == 0, other.block, other.warp, other.lane,
                      static_cast<int>(LineOf(entry, which == 0))});
    }
  }
}

template <bool kWrite>
inline void GlobalShadow::Check(BlockClocks& clocks, const Limits& limits, uint64_t address,
                                uint64_t me, Conflicts* conflicts) const {
  const uint64_t* const entry = Granule(limits, address);
  const uint64_t seen = (me & kLaneBits) >= kSeveral ? (me & ~kLaneBits) | kNoLane : me;
  bool suspect = IsSuspect(Load(entry), seen, limits.first);
  if (kWrite) {
    suspect |= IsSuspect(Load(entry + kRead), seen, limits.first) |
               IsSuspect(Load(entry + kOtherRead), seen, limits.first);
  }
  if (suspect) Resolve(clocks, limits, address, me, kWrite, conflicts);
}

// me: merged with the last one.
void GlobalShadow::RememberRead(const Limits& limits, uint64_t* entry, uint64_t last,
                                uint64_t me) const {
  if (((last ^ me) & kNumberBits) != 0 && last >= limits.first) {
    const uint64_t other = Load(entry + kOtherRead);
    const bool last_here = Number(last) - block_number_ < warps_;
    const bool other_elsewhere = other >= limits.first && Number(other) - block_number_ >= warps_;
    if (!last_here || !other_elsewhere) Store(entry + kOtherRead, last);
  }
  Store(entry + kRead, me);
}

template <bool kWrite>
inline void GlobalShadow::Remember(const Limits& limits, uint64_t address, uint64_t me) const {
  uint64_t* const entry = Granule(limits, address);
  const uint64_t last = Load(kWrite ? entry : entry + kRead);
  if (kWrite) {
    Store(entry, Merge(last, me));
  } else {
    RememberRead(limits, entry, last, Merge(last, me));
  }
  StoreLine(entry, kWrite, limits.line);
}

// --- Chunks ------------------------------------------------------------------------------------

template <bool kWrite>
void GlobalShadow::CheckChunk(BlockClocks& clocks, const Limits& limits, uint64_t address,
                              uint64_t me, Conflicts* conflicts) const {
  const uint64_t* const chunk = memory_.RaceChunk(address);
  bool known = true;
  for (int which = 0; which < (kWrite ? 3 : 1); ++which) {
    const uint64_t record = Load(chunk + which * kRead);
    if (record < limits.first) continue;
    if (record == (limits.first | kOpened)) {
      known = false;
      break;
    }
    const uint64_t differs = record ^ me, lane = me & kLaneBits;
    const bool own =
        (differs & kNumberBits) == 0 &&
        (lane == kSome || (lane < kSeveral && (differs & (kLaneBits | kMaskBits)) == 0));
    known &= own || IsFine(clocks, limits, record, me);
  }
  if (known) return;
  const Vector granules = Granules(me);
  // Several lanes' record is not each one's own.
  const bool several = (me & kLaneBits) == kSeveral;
  if (!several && CheckVector<kWrite>(Granule(limits, address), granules, limits.group)) return;
  for (int k = 0; k < kVector; ++k) {
    Check<kWrite>(clocks, limits, address + 4 * k, static_cast<uint64_t>(granules[k]), conflicts);
  }
}

template <bool kWrite>
void GlobalShadow::RememberChunk(const Limits& limits, uint64_t address, uint64_t me) const {
  uint64_t* const chunk = memory_.RaceChunk(address);
  const uint64_t opened = limits.first | kOpened;
  const uint64_t last = Load(kWrite ? chunk : chunk + kRead);
  uint64_t merged = me;
  if (last != opened && (kWrite || Load(chunk + kOtherRead) != opened) &&
      MergeChunks(last, &merged)) {
    if (kWrite) {
      Store(chunk, merged);
    } else {
      RememberRead(limits, chunk, last, merged);
    }
    StoreLine(chunk, kWrite, limits.line);
    return;
  }
  const Vector granules = Granules(me);
  if (RememberVector<kWrite>(Granule(limits, address), granules, limits.line, limits.group)) return;
  for (int k = 0; k < kVector; ++k) {
    Remember<kWrite>(limits, address + 4 * k, static_cast<uint64_t>(granules[k]));
  }
}

// Consecutive granules of lanes in order, or one lane's for all lanes.
template <bool kWrite>
void GlobalShadow::Run(BlockClocks& clocks, const Limits& limits, const Access& access,
                       Conflicts* conflicts) const {
  const uint64_t address = access.address[access.first];
  const bool unit = access.pattern == Access::Pattern::kUnitStride;
  const uint32_t count = std::max(1u, access.bytes * (unit ? kLanes : 1) / 4);
  const bool in_order = unit && access.bytes >= 4;
  uint64_t code = access.first;
  if (unit && !in_order) code = kSomeLanes;
  if (!unit && (access.mask & (access.mask - 1))) code = kSeveralLanes;
  const uint64_t me = limits.me | (code << kLaneShift);
  const int shift = in_order ? std::countr_zero(access.bytes / 4) : 31;
  const uint64_t shape = in_order ? ShapeOf(access.bytes) : kWhole;
  const bool chunks = address % std::max(access.bytes, 4u) == 0;
  Vector steps;
  for (int k = 0; k < kVector; ++k) steps[k] = int64_t{(4 * k) >> shift} << kLaneShift;
  for (uint32_t k = 0; k < count;) {
    const uint64_t at = address + k * 4;
    const uint64_t mine = me + (uint64_t{k >> shift} << kLaneShift);
    if (!chunks || at % kChunk || count - k < kVector) {
      Check<kWrite>(clocks, limits, at, mine, conflicts);
      Remember<kWrite>(limits, at, mine);
      ++k;
      continue;
    }
    const uint64_t first = (mine & ~kMaskBits) | shape;
    if (at % kRow == 0 && count - k >= kVector * kVector) {
      uint64_t* const entry = memory_.RaceChunk(at);
      const Vector all = steps + static_cast<int64_t>(first);
      if (CheckVector<kWrite>(entry, all, limits.group) &&
          RememberVector<kWrite>(entry, all, limits.line, limits.group)) {
        k += kVector * kVector;
        continue;
      }
    }
    CheckChunk<kWrite>(clocks, limits, at, first, conflicts);
    RememberChunk<kWrite>(limits, at, first);
    k += kVector;
  }
}

// The usual access of 16 bytes a lane, lanes by fours in rows. False: nothing is done.
template <bool kWrite>
bool GlobalShadow::TakeRows(const Limits& limits, const Access& access) const {
  constexpr int kRows = kLanes / kVector;
  constexpr Vector kPlaces{0, kChunk, 2 * kChunk, 3 * kChunk};
  constexpr int64_t kStep = int64_t{1} << kLaneShift;
  if (access.bytes != kChunk || access.mask != kAllLanes) return false;
  Vector off{};
  bool here = true;
  for (int k = 0; k < kRows; ++k) {
    const uint64_t row = access.address[k * kVector] & ~(kRow - 1);
    off |= LoadVector(access.address + k * kVector) ^ (kPlaces + static_cast<int64_t>(row));
    here &= memory_.Contains(row);
  }
  if (Any(off) || !here) return false;
  const Vector first = Vector{0, kStep, 2 * kStep, 3 * kStep} + static_cast<int64_t>(limits.me);
  for (int k = 0; k < kRows; ++k) {
    const uint64_t* const entry = memory_.RaceChunk(access.address[k * kVector]);
    if (!CheckVector<kWrite>(entry, first + k * kVector * kStep, limits.group)) return false;
  }
  for (int k = 0; k < kRows; ++k) {
    uint64_t* const entry = memory_.RaceChunk(access.address[k * kVector]);
    const Vector me = first + k * kVector * kStep;
    if (RememberVector<kWrite>(entry, me, limits.line, limits.group)) continue;
    for (int j = 0; j < kVector; ++j) {
      RememberChunk<kWrite>(limits, access.address[k * kVector + j], static_cast<uint64_t>(me[j]));
    }
  }
  return true;
}

template <bool kWrite>
void GlobalShadow::Scattered(BlockClocks& clocks, const Limits& limits, const Access& access,
                             Conflicts* conflicts) const {
  if (TakeRows<kWrite>(limits, access)) return;
  Pieces all;
  const bool filled = all.Fill(memory_, access, (limits.me & ~kMaskBits) | ShapeOf(access.bytes));
  if (!filled) all.chunks = all.count = 0;
  for (uint32_t m = filled ? 0 : access.mask; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    const uint64_t a = AddressOf(access, lane);
    const uint64_t bytes =
        access.bytes < 4 ? (((1u << access.bytes) - 1) << (a & 3)) & kMaskBits : kMaskBits;
    const uint64_t me = (limits.me & ~kMaskBits) | bytes | uint64_t{lane} << kLaneShift;
    if (memory_.Contains(a)) all.Add(a, me, access.bytes);
  }
  // First all checks: lanes of one instruction do not race with each other here.
  for (uint32_t k = 0; k < all.count; ++k) {
    const uint64_t at = all.address[k];
    if (!all.IsChunk(k)) {
      for (uint32_t b = 0; b < access.bytes; b += 4) {
        Check<kWrite>(clocks, limits, at + b, all.me[k], conflicts);
      }
    } else if (all.IsRow(k) &&
               CheckVector<kWrite>(memory_.RaceChunk(at), LoadVector(all.me + k), limits.group)) {
      k += kVector - 1;
    } else {
      CheckChunk<kWrite>(clocks, limits, at, all.me[k], conflicts);
    }
  }
  for (uint32_t k = 0; k < all.count; ++k) {
    const uint64_t at = all.address[k];
    if (!all.IsChunk(k)) {
      for (uint32_t b = 0; b < access.bytes; b += 4) Remember<kWrite>(limits, at + b, all.me[k]);
    } else if (all.IsRow(k) && RememberVector<kWrite>(memory_.RaceChunk(at), LoadVector(all.me + k),
                                                      limits.line, limits.group)) {
      k += kVector - 1;
    } else {
      RememberChunk<kWrite>(limits, at, all.me[k]);
    }
  }
}

}  // namespace softgpu
