// Internal to the scheduler: what groups.cc, barriers.cc and run_block.cc share.
#pragma once

#include "tests/softgpu/machine/races.h"
#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// Where the running group meets another one: see Warp::stop_pc.
void UpdateStop(Warp& warp);
// Makes a ready group the running one: the one furthest behind, or any. False: none is ready.
bool PickGroup(Warp& warp, bool random);
// The running group becomes one of the others.
void Park(Warp& warp);
// The lanes of warp.exec leave the running group to wait at its instruction, as `why` says.
void Suspend(Warp& warp, Group why);
// Takes in groups that stand at the running one's instruction; gives way to one further behind.
void Meet(Warp& warp);
void FillSpecials(const Warp& warp, Frame& frame);
// Lets go of every barrier whose threads have all arrived or ended.
void CompleteBarriers(Block& block);
// Nobody can go on: reports who waits for whom. Throws LaunchFault.
void ReportDeadlock(Block& block);

// A block on a worker; its memory serves one block after the other.
class BlockRunner {
 public:
  explicit BlockRunner(Launch& launch);
  ~BlockRunner();
  void Start(uint64_t index);
  // Runs for a while. False: the block has ended. Throws LaunchFault.
  bool Step();
  const Counters& counters() const { return block_.counters; }

 private:
  void RunWarp(Warp& warp);
  Launch& launch_;
  Block block_;
  std::unique_ptr<BlockRaces> races_;
};

}  // namespace softgpu
