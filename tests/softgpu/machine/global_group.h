// Entries of global_record.h, four side by side: granules of a chunk, or chunks. What most accesses
// need is a few compares of vectors.
#pragma once

#include <algorithm>
#include <cstring>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "tests/softgpu/machine/global_record.h"

namespace softgpu::global_record {

// Words of four neighbours. Comparisons give -1 or 0 each.
inline constexpr int kVector = DeviceMemory::kRaceGroup;
using Vector = int64_t __attribute__((vector_size(kVector * sizeof(int64_t))));
inline Vector LoadVector(const uint64_t* words) {
  Vector v;
  std::memcpy(&v, words, sizeof(v));
  return v;
}
inline void StoreVector(uint64_t* words, Vector v) { std::memcpy(words, &v, sizeof(v)); }
inline bool Any(Vector v) {
#ifdef __AVX2__
  const __m256i bits = reinterpret_cast<__m256i>(v);
  return !_mm256_testz_si256(bits, bits);
#else
  return (v[0] | v[1] | v[2] | v[3]) != 0;
#endif
}

// Records of a chunk's granules.
inline Vector Granules(uint64_t chunk) {
  constexpr int64_t kStep = int64_t{1} << kLaneShift;
  const Vector whole = Vector{} + static_cast<int64_t>(chunk | kMaskBits);
  switch (chunk & kMaskBits) {
    case kPairs:
      return whole + Vector{0, 0, kStep, kStep};
    case kSingles:
      return whole + Vector{0, kStep, 2 * kStep, 3 * kStep};
    default:
      return whole;
  }
}

inline void StoreLines(uint64_t* group, bool write, uint32_t line) {
  uint32_t lines[kVector];
  std::fill_n(lines, kVector, line);
  std::memcpy(LineAt(group, write), lines, sizeof(lines));
}

// What records are compared with; signed, because vectors of that compare fast.
struct GroupLimits {
  int64_t first;             // records below are of earlier launches
  int64_t block, block_end;  // records of this block are in here
  int64_t time;              // and ordered up to this one (its bits)
};

inline GroupLimits LimitsOf(const BlockClocks& clocks, uint32_t warp, uint64_t first,
                            uint64_t block, uint32_t warps) {
  const uint32_t time = std::min(clocks.Floor(warp), clocks.Synced(warp));
  return {static_cast<int64_t>(first << kNumberShift), static_cast<int64_t>(block << kNumberShift),
          static_cast<int64_t>((block + warps) << kNumberShift),
          static_cast<int64_t>(uint64_t{time} << kTimeShift)};
}

// Where the record is not known at once to be ordered before the access or its own thread's. So is
// the word of an opened chunk.
inline Vector NeedsLook(Vector record, Vector me, const GroupLimits& limits) {
  constexpr int64_t kOwnBits = static_cast<int64_t>(kNumberBits | kLaneBits | kMaskBits);
  constexpr int64_t kTimeBits = int64_t{kMaxTime} << kTimeShift;
  const Vector earlier = record < limits.first;
  const Vector own = ((record ^ me) & kOwnBits) == 0;
  const Vector told = (record >= limits.block) & (record < limits.block_end) &
                      ((record & kTimeBits) <= limits.time);
  return ~(earlier | own | told);
}
inline Vector NeedsMerge(Vector record, Vector me) {
  constexpr int64_t kOwnBits = static_cast<int64_t>(kLaneBits | kStrengthBits | kMaskBits);
  return (((record ^ me) & ~kOwnBits) == 0) & (record != me);
}
inline Vector IsOpened(Vector record, const GroupLimits& limits) {
  return record == (limits.first | static_cast<int64_t>(kOpened));
}

// Four entries side by side, of granules or chunks. False: they need a closer look.
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
  Vector look = NeedsMerge(last, me) | IsOpened(last, limits);
  if (kWrite) {
    if (Any(look)) return false;
  } else {
    const Vector others = LoadVector(entry + kOtherRead);
    look |= IsOpened(others, limits);
    if (Any(look)) return false;
    const Vector same = ((last ^ me) & static_cast<int64_t>(kNumberBits)) == 0;
    const Vector stale = last < limits.first;
    const Vector here = (last >= limits.block) & (last < limits.block_end);
    const Vector elsewhere =
        (others >= limits.first) & ((others < limits.block) | (others >= limits.block_end));
    const Vector keep = same | stale | (here & elsewhere);
    StoreVector(entry + kOtherRead, (others & keep) | (last & ~keep));
  }
  StoreVector(mine, me);
  StoreLines(entry, kWrite, line);
  return true;
}

}  // namespace softgpu::global_record
