// Who last touched each granule of memory: records that the race checks compare new accesses with.
// A record is one word that holds time, warp, lane and strength, so that the common case (all
// records are ordered before, or the thread's own) is a loop of compares that vectorises.
#pragma once

#include <cstdint>
#include <vector>

#include "tests/softgpu/machine/clocks.h"
#include "tests/softgpu/machine/memory.h"
#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// A lane's new access and an earlier one without order between them.
struct Conflict {
  uint64_t address;  // of the granule
  bool other_writes;
  uint64_t other_block;
  uint32_t other_warp, other_lane;  // a lane, kSeveralLanes or kSomeLanes
  int other_line;                   // of the PTX; 0: not known
};
// Of one warp access: one a lane, with a read where there is one.
struct Conflicts {
  uint32_t lanes = 0;
  Conflict of[kLanes];
  void Add(uint32_t lane, const Conflict& conflict) {
    if ((lanes >> lane) & 1 && (conflict.other_writes || !of[lane].other_writes)) return;
    lanes |= 1u << lane;
    of[lane] = conflict;
  }
};

// Of one block after the other; granules of 1 << granule_log2 bytes.
class SharedShadow {
 public:
  SharedShadow(uint32_t bytes, int granule_log2);
  void Start();
  // Checks, then remembers.
  void OnAccess(BlockClocks& clocks, uint32_t warp, const Access& access, int line,
                Conflicts* conflicts);

 private:
  // What a new access is compared with: see shared_shadow.cc.
  struct Limits {
    int32_t me;       // record of lane 0 of the new access
    int32_t ordered;  // records below it are ordered before the whole warp
    int32_t own;      // records of the same warp below it are
    uint32_t warp;
    bool write;
    bool several;  // lanes touch the same granules
  };
  struct Run {  // of granules; granule k belongs to lane first_lane + (k >> shift)
    uint32_t first, count, first_lane;
    int shift;
  };
  bool Suspect(const Limits& limits, const Run& run) const;
  void Resolve(BlockClocks& clocks, const Limits& limits, const Run& run, const Access& access,
               Conflicts* conflicts) const;
  void Remember(const Limits& limits, const Run& run, int line);
  bool TakeFreshRun(const Limits& limits, const Run& run, int line);
  void ReadOne(BlockClocks& clocks, const Limits& limits, const Run& run, const Access& access,
               int line, Conflicts* conflicts);
  template <uint32_t G, bool kWrite>
  bool TakeFresh(const Limits& limits, const uint32_t* at, const int32_t* me, uint32_t lanes,
                 int line);
  template <uint32_t G>
  void Scattered(BlockClocks& clocks, const Limits& limits, const Access& access, int line,
                 Conflicts* conflicts);
  void Scattered(BlockClocks& clocks, const Limits& limits, const Access& access, int line,
                 Conflicts* conflicts);
  Run RunOf(const Access& access, uint32_t lane) const;
  void Rebase(BlockClocks& clocks);

  const int granule_log2_;
  int32_t offset_ = 0;  // record's time = block's time + offset
  uint32_t block_counter_ = 0;
  uint32_t count_;  // granules
  std::vector<int32_t> writes_;
  std::vector<int32_t> reads_, other_reads_;  // the last one, and the last of another warp
  std::vector<int32_t> write_lines_, read_lines_;
};

// Of one block; the records of all blocks lie in DeviceMemory's race entries.
class GlobalShadow {
 public:
  // Warps of the launch are numbered from first_number.
  GlobalShadow(DeviceMemory& memory, uint64_t first_number, uint32_t warps);
  void Start(uint64_t block);
  void OnAccess(BlockClocks& clocks, uint32_t warp, const Access& access, int line,
                Conflicts* conflicts);
  // Numbers that fit a record.
  static constexpr uint64_t kMaxNumber = (uint64_t{1} << 28) - 1;

 private:
  struct Limits;  // what a new access is compared with; me: its record
  // Who made a record.
  struct Party {
    bool same_block;
    uint64_t block;
    uint32_t warp, lane;
  };
  Party PartyOf(uint64_t record, uint64_t block) const;
  bool IsFine(const BlockClocks& clocks, const Limits& limits, uint64_t record, uint64_t me) const;
  uint32_t Unordered(BlockClocks& clocks, const Limits& limits, uint64_t record, uint64_t me) const;
  void Resolve(BlockClocks& clocks, const Limits& limits, uint64_t address, uint64_t me, bool write,
               Conflicts* conflicts) const;
  uint64_t* Granule(const Limits& limits, uint64_t address) const;
  template <bool kWrite>
  void Check(BlockClocks& clocks, const Limits& limits, uint64_t address, uint64_t me,
             Conflicts* conflicts) const;
  template <bool kWrite>
  void Remember(const Limits& limits, uint64_t address, uint64_t me) const;
  void RememberRead(const Limits& limits, uint64_t* entry, uint64_t last, uint64_t me) const;
  template <bool kWrite>
  void CheckChunk(BlockClocks& clocks, const Limits& limits, uint64_t address, uint64_t me,
                  Conflicts* conflicts) const;
  template <bool kWrite>
  void RememberChunk(const Limits& limits, uint64_t address, uint64_t me) const;
  template <bool kWrite>
  bool TakeRows(const Limits& limits, const Access& access) const;
  template <bool kWrite>
  void Run(BlockClocks& clocks, const Limits& limits, const Access& access,
           Conflicts* conflicts) const;
  template <bool kWrite>
  void Scattered(BlockClocks& clocks, const Limits& limits, const Access& access,
                 Conflicts* conflicts) const;

  DeviceMemory& memory_;
  const uint64_t first_number_;
  const uint32_t warps_;
  uint64_t block_number_ = 0;  // of the block's first warp
  bool numbered_ = false;      // its warps' numbers fit
};

}  // namespace softgpu
