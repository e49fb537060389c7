// Accesses to global memory against the records of others: see global_record.h.
#include <algorithm>
#include <bit>

#include "tests/softgpu/machine/global_record.h"
#include "tests/softgpu/machine/shadow.h"

namespace softgpu {

using namespace global_record;

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
