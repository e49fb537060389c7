// A record of shared_shadow.cc: time (19 bits), warp (5), strong (1), lane (6; see kSeveralLanes).
// Times grow over all blocks that a shadow serves, so that nothing is cleared between blocks.
#pragma once

#include <cstdint>
#include <cstring>

#include "tests/softgpu/machine/clocks.h"

namespace softgpu::shared_record {

inline constexpr int kTimeShift = 12, kWarpShift = 7;
inline constexpr int32_t kMaxTime = (1 << 19) - 1;
inline constexpr int32_t kStrongBit = 1 << 6;
inline constexpr int32_t kLaneBits = 63;
inline constexpr int32_t kWarpBits = 31 << kWarpShift;
inline constexpr int32_t kNoLane = 63;  // of a new access by several lanes: no record's lane

// Bitwise operators: the loops below have no branches.
inline bool IsSuspect(int32_t record, int32_t me, int32_t ordered, int32_t own) {
  const int32_t differs = record ^ me;
  const bool same_warp = (differs & kWarpBits) == 0;
  const bool same_lane = (differs & kLaneBits) == 0;
  const bool fine = (record < ordered) | (same_warp & ((record < own) | same_lane)) |
                    ((record & me & kStrongBit) != 0);
  return !fine;
}

// A record that stands for both: of lanes of one warp in one time, else the new one.
inline int32_t Merge(int32_t old, int32_t me) {
  const int32_t differs = old ^ me;
  const bool same_time = (differs & ~(kLaneBits | kStrongBit)) == 0;
  const bool same_lane = (differs & kLaneBits) == 0;
  const int32_t weak = me & (old | ~kStrongBit);
  const int32_t lanes =
      same_lane ? weak : (weak & ~kLaneBits) | static_cast<int32_t>(kSeveralLanes);
  return same_time ? lanes : me;
}

// Several records as a vector, or one; comparisons give -1 or 0.
using Four = int32_t __attribute__((vector_size(16)));
using Eight = int32_t __attribute__((vector_size(32)));
template <class P>
inline P LoadPack(const int32_t* records) {
  P pack;
  std::memcpy(&pack, records, sizeof(pack));
  return pack;
}
template <class P>
inline void StorePack(int32_t* records, P pack) {
  std::memcpy(records, &pack, sizeof(pack));
}
// Negative where it is so; of values that are not negative, as records are.
inline int32_t IsZero(int32_t value) { return value - 1; }
inline Four IsZero(Four value) { return value == 0; }
inline int32_t AtLeast(int32_t value, int32_t least) { return least - 1 - value; }
inline Four AtLeast(Four value, int32_t least) { return value >= least; }
inline bool AnyNegative(int32_t value) { return value < 0; }
inline bool AnyNegative(Four value) { return (value[0] | value[1] | value[2] | value[3]) < 0; }
template <class P>
inline bool Any(P value) {
  uint64_t words[sizeof(P) / sizeof(uint64_t)], any = 0;
  std::memcpy(words, &value, sizeof(value));
  for (const uint64_t word : words) any |= word;
  return any != 0;
}

}  // namespace softgpu::shared_record
