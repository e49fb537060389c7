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
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "tests/softgpu/machine/clocks.h"
#include "tests/softgpu/machine/memory.h"

namespace softgpu::global_record {

inline constexpr int kLaneShift = 4, kStrengthShift = 10, kTimeShift = 12, kNumberShift = 35;
inline constexpr uint64_t kMaskBits = 15;
inline constexpr uint64_t kLaneBits = uint64_t{63} << kLaneShift;
inline constexpr uint64_t kStrengthBits = uint64_t{3} << kStrengthShift;
inline constexpr uint64_t kNumberBits = ~uint64_t{0} << kNumberShift;
inline constexpr uint32_t kMaxTime = (1u << 23) - 1;
inline constexpr uint64_t kNoLane = uint64_t{63} << kLaneShift;
// Where the words of an entry are.
inline constexpr int kRead = DeviceMemory::kRaceGroup, kOtherRead = 2 * kRead, kLines = 3 * kRead;

inline uint64_t Load(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
inline void Store(uint64_t* word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

inline uint64_t Number(uint64_t record) { return record >> kNumberShift; }
inline uint64_t Strength(uint64_t record) { return (record & kStrengthBits) >> kStrengthShift; }

// Of this launch, by another thread, and on the same bytes.
inline bool IsSuspect(uint64_t record, uint64_t me, uint64_t first) {
  return (record >= first) & (((record ^ me) & (kNumberBits | kLaneBits)) != 0) &
         ((record & me & kMaskBits) != 0);
}

// Two accesses of one warp at one time: a record that stands for both.
inline uint64_t MergeSame(uint64_t old, uint64_t me) {
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
inline uint32_t* LineAt(uint64_t* entry, bool write) {
  constexpr uint64_t kGroup = DeviceMemory::kRaceGroup;
  const uint64_t index = reinterpret_cast<uint64_t>(entry) / sizeof(uint64_t) % kGroup;
  uint32_t* const lines = reinterpret_cast<uint32_t*>(entry - index + kLines);
  return lines + index + (write ? 0 : kGroup);
}
inline void StoreLine(uint64_t* entry, bool write, uint32_t line) {
  __atomic_store_n(LineAt(entry, write), line, __ATOMIC_RELAXED);
}
inline uint32_t LineOf(uint64_t* entry, bool write) {
  return __atomic_load_n(LineAt(entry, write), __ATOMIC_RELAXED);
}

// What groups of granules are compared with; signed, because vectors of that compare fast.
struct GroupLimits {
  int64_t first;             // records below are of earlier launches
  int64_t block, block_end;  // records of this block are in here
  int64_t time;              // and ordered up to this one (its bits)
};

// Four granules' words. Comparisons give -1 or 0 each.
inline constexpr int kVector = 4;
using Vector = int64_t __attribute__((vector_size(kVector * sizeof(int64_t))));
inline Vector LoadVector(const uint64_t* words) {
  Vector v;
  std::memcpy(&v, words, sizeof(v));
  return v;
}
inline bool Any(Vector v) {
#ifdef __AVX2__
  const __m256i bits = reinterpret_cast<__m256i>(v);
  return !_mm256_testz_si256(bits, bits);
#else
  return (v[0] | v[1] | v[2] | v[3]) != 0;
#endif
}

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

inline GroupLimits LimitsOf(const BlockClocks& clocks, uint32_t warp, uint64_t first,
                            uint64_t block, uint32_t warps) {
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

}  // namespace softgpu::global_record
