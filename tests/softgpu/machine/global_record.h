// What global_shadow.cc keeps of accesses. An entry has four words: the last write, two reads, and
// the PTX lines of the last write and read (for messages only, they may be of other accesses than
// the records). Of the reads, the second one is of another block than the first if there was any.
// Words of four neighbours lie side by side, so that usual accesses are compared as vectors.
//
// A record: warp's number in the process (28 bits), time in its block (23), strength (2), lane (6),
// and 4 bits. The top bit is 0; records of earlier launches are smaller than all of this one's.
//
// Memory has entries twice: for granules of 4 bytes, where the 4 bits say which bytes, and for
// chunks of four granules, where they say how lanes go over them. A chunk's word stands for those
// of its granules, until an access comes that no such record can stand for: then it is opened, the
// word says so, and for the rest of the launch the granules' words count.
//
// Other blocks read and write entries at the same time: a word is loaded and stored as a whole (on
// the machines that this runs on, in vectors, too) and is true by itself; one that gets lost hides
// a race, and never makes one.
#pragma once

#include <algorithm>
#include <cstdint>

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
inline constexpr uint64_t kSeveral = uint64_t{kSeveralLanes} << kLaneShift;
inline constexpr uint64_t kSome = uint64_t{kSomeLanes} << kLaneShift;
// Where the words of an entry are.
inline constexpr int kRead = DeviceMemory::kRaceGroup, kOtherRead = 2 * kRead, kLines = 3 * kRead;

inline uint64_t Load(const uint64_t* word) { return __atomic_load_n(word, __ATOMIC_RELAXED); }
inline void Store(uint64_t* word, uint64_t value) {
  __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

inline uint64_t Number(uint64_t record) { return record >> kNumberShift; }
inline uint64_t Strength(uint64_t record) { return (record & kStrengthBits) >> kStrengthShift; }
inline uint32_t Time(uint64_t record) {
  return static_cast<uint32_t>((record >> kTimeShift) & kMaxTime);
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
// Of this launch, by another thread, and on the same bytes.
inline bool IsSuspect(uint64_t record, uint64_t me, uint64_t first) {
  return (record >= first) & (((record ^ me) & (kNumberBits | kLaneBits)) != 0) &
         ((record & me & kMaskBits) != 0);
}

// Records that differ in what one warp did at one time.
inline bool SameTime(uint64_t old, uint64_t me) {
  return ((old ^ me) & ~(kLaneBits | kStrengthBits | kMaskBits)) == 0;
}
inline uint64_t Weaker(uint64_t old, uint64_t me) {
  return (me & ~kStrengthBits) | std::min(old & kStrengthBits, me & kStrengthBits);
}

// A granule's record that stands for both, where they are of one warp and time; else the new one.
inline uint64_t Merge(uint64_t old, uint64_t me) {
  if (!SameTime(old, me) || old == me) return me;
  uint64_t lane = me & kLaneBits;
  if (lane != (old & kLaneBits)) {
    const bool all = (old & kMaskBits) == (me & kMaskBits);
    lane = uint64_t{all ? kSeveralLanes : kSomeLanes} << kLaneShift;
  }
  return (Weaker(old, me) & ~kLaneBits) | (old & kMaskBits) | lane;
}

// --- Chunks ------------------------------------------------------------------------------------

// The 4 bits: all granules are the lane's; two each are of it and the next one; one each.
inline constexpr uint64_t kWhole = 15, kPairs = 14, kSingles = 13;
// The word of an opened chunk, for a launch. It is no record's: times stay below kMaxTime.
inline constexpr uint64_t kOpened = uint64_t{kMaxTime} << kTimeShift;

// Lanes that cannot be told apart or are several touched whole chunks.
// False: no record of a chunk stands for both. True: *me does.
inline bool MergeChunks(uint64_t old, uint64_t* me) {
  if (!SameTime(old, *me) || old == *me) return true;
  const uint64_t differs = old ^ *me;
  *me = Weaker(old, *me);
  if ((differs & (kLaneBits | kMaskBits)) == 0) return true;
  const bool several = (old & kLaneBits) >= kSeveral || (*me & kLaneBits) >= kSeveral;
  if ((differs & kMaskBits) && !several) return false;
  *me = (*me & ~(kLaneBits | kMaskBits)) | kSeveral | kWhole;
  return true;
}

}  // namespace softgpu::global_record
