// The state of a running warp and its block.
//
// Threads of a warp have their own program counters (independent thread scheduling). Lanes that
// stand at the same place in the same frame are one Group and run together; the group furthest
// behind runs first, so that lanes meet again after a branch, and after a random time another one
// gets its turn, so that a lane that waits for another one's lock does not wait for ever.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/softgpu/machine/counters.h"
#include "tests/softgpu/machine/errors.h"
#include "tests/softgpu/machine/findings.h"
#include "tests/softgpu/machine/kernel.h"
#include "tests/softgpu/machine/memory.h"

namespace softgpu {

struct Block;
struct Launch;
struct Warp;
class BlockRaces;

// Registers of one call of one function, shared by the groups that are in it.
struct Frame {
  std::vector<uint8_t> storage;  // slots, 32-byte aligned inside
  uint8_t* registers = nullptr;
  const Code* code = nullptr;
  Frame* caller = nullptr;
  uint32_t return_pc = 0;
  uint32_t depth = 0;
  uint32_t groups = 0;      // that are in it or in something it called
  uint32_t local_base = 0;  // of its .local variables, in the warp's local memory
};

enum class WaitKind : uint8_t { kReady, kBarrier, kWarpSync, kDone };

struct Group {
  uint32_t mask = 0;
  uint32_t pc = 0;  // of the next instruction; of the waiting one while it waits
  Frame* frame = nullptr;
  WaitKind wait = WaitKind::kReady;
  uint32_t barrier = 0;          // id, while it waits for one
  uint32_t sync_mask = 0;        // lanes a warp-wide operation waits for
  bool any_place = false;        // bar.warp.sync: partners may wait at another instruction
  bool aligned_barrier = false;  // waits for its warp, to go to a barrier together
  bool wants_result = false;     // barrier.red: runs again to fetch it
  bool released = false;         // the barrier at pc let it go: the instruction ends
};

struct Random {  // xorshift64*
  uint64_t state;
  uint32_t Next() {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return static_cast<uint32_t>((state * 0x2545F4914F6CDD1DULL) >> 32);
  }
};

// How strong a memory operation is: for the race checks.
enum class Order : uint8_t { kWeak, kRelaxed, kAcquire, kRelease, kAcquireRelease };
enum class Scope : uint8_t { kBlock, kDevice, kSystem };

// One access of a warp, after resolving windows: one space for all its lanes.
struct Access {
  enum class Pattern : uint8_t { kUniform, kUnitStride, kScattered };
  ptx::Space space;  // kGlobal: device addresses (or host ranges); kShared: byte offsets
  bool write = false;
  bool atomic = false;  // read-modify-write
  Order order = Order::kWeak;
  Scope scope = Scope::kBlock;
  Pattern pattern = Pattern::kScattered;
  uint32_t mask = 0;   // lanes; never 0
  uint32_t first = 0;  // the lowest lane of mask
  uint32_t bytes = 0;  // a lane: 1 to 16
  // kUniform: every lane's address is address[first]. kUnitStride: mask is all lanes and lane l's
  // is address[0] + l * bytes.
  uint64_t address[kLanes];
};

struct Warp {
  // Of the running group; valid while exec functions run.
  uint8_t* bases[2] = {nullptr, nullptr};  // frame, constants: see Data
  uint32_t exec = 0;                       // lanes that take part in this instruction
  uint32_t active = 0;                     // lanes of the running group
  uint32_t pc = 0;                         // of the next instruction
  uint32_t stop_pc = 0;                    // where another group of this frame waits to be met
  const Inst* insts = nullptr;
  Frame* frame = nullptr;
  bool stop = false;         // set by an instruction after which the group cannot simply go on
  bool yields = false;       // set by an instruction that waits for others: the turn ends
  bool released = false;     // of the running group: see Group
  bool out_of_time = false;  // its last turn ended before it had to
  bool has_turn = false;     // the running group was drawn, though others are further behind
  Counters* counters = nullptr;
  Block* block = nullptr;

  uint32_t index = 0;         // in its block
  uint32_t existing = 0;      // lanes that are threads of the block
  uint32_t alive = 0;         // of those, the ones that have not exited
  std::vector<Group> groups;  // all but the running one
  std::vector<std::unique_ptr<Frame>> frames;
  std::vector<Frame*> free_frames;
  // .local memory: byte b of word w of lane l at (w * 32 + l) * 4 + b; states laid out alike.
  std::vector<uint8_t> local, local_state;
  uint32_t thread(int lane) const { return index * kLanes + static_cast<uint32_t>(lane); }
};

struct Barrier {
  uint32_t arrived = 0;          // threads; of aligned barriers whole warps
  uint32_t expected = 0;         // 0: all that are alive
  std::vector<uint32_t> lanes;   // of each warp: those that arrived (waiting or not)
  bool all = true, any = false;  // barrier.red: of this round's predicates
  uint32_t count = 0;
  bool result_all = true, result_any = false;  // of the round that was completed last
  uint32_t result_count = 0;
};

struct Block {
  Launch* launch = nullptr;
  uint64_t index = 0;  // linear
  uint32_t id[3] = {};
  std::vector<Warp> warps;
  // Shared memory with its byte states (ByteState); the first kSharedBase bytes are no memory, so
  // that a null pointer is caught.
  std::vector<uint8_t> shared, shared_state;
  Barrier barriers[16];
  BlockRaces* races = nullptr;
  void* async = nullptr;        // of the cp.async ops: AsyncCopies
  bool follows_writes = false;  // FollowProxyWrites
  Counters counters;
  Random random{1};
  uint32_t alive = 0;  // threads
};

inline constexpr uint32_t kSharedBase = 1024;
// Windows of the generic address space; an offset of a space has fewer than 32 bits.
inline constexpr int kWindowShift = 56;
inline constexpr uint64_t kSharedWindow = uint64_t{1} << kWindowShift;
inline constexpr uint64_t kLocalWindow = uint64_t{2} << kWindowShift;
inline constexpr uint64_t kParamWindow = uint64_t{3} << kWindowShift;

// Thrown where a launch cannot go on; error is a cudaError_t.
struct LaunchFault {
  int error;
};

// Reports for the lane of the warp at the instruction; returns whether the check is on.
bool Report(const Warp& warp, const Inst& inst, int lane, Check check, const std::string& text);

}  // namespace softgpu
