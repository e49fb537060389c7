// Barriers of a block: who has arrived, when they let go, and what to say when they never do.
#include <algorithm>

#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/run_block.h"
#include "tests/softgpu/machine/warp_sync.h"

namespace softgpu {
namespace {

// An aligned barrier is for whole warps: waits until all living lanes stand at this instruction.
bool GatherWarp(Warp& w) {
  if (w.exec == w.alive) return true;
  Group g;
  g.wait = WaitKind::kWarpSync;
  g.sync_mask = w.alive;
  g.aligned_barrier = true;
  Suspend(w, g);
  return false;
}

bool IsComplete(const Block& block, const Barrier& barrier) {
  if (barrier.expected) return barrier.arrived >= barrier.expected;
  for (size_t w = 0; w < block.warps.size(); ++w) {
    if (block.warps[w].alive & ~barrier.lanes[w]) return false;
  }
  return true;
}

void Release(Block& block, uint32_t id) {
  Barrier& barrier = block.barriers[id];
  if (block.races) block.races->OnBarrier(barrier.lanes.data(), id);
  ++block.counters.barriers;
  barrier.result_all = barrier.all;
  barrier.result_any = barrier.any;
  barrier.result_count = barrier.count;
  barrier.all = true;
  barrier.any = false;
  barrier.count = barrier.arrived = barrier.expected = 0;
  std::fill(barrier.lanes.begin(), barrier.lanes.end(), 0);
  for (Warp& warp : block.warps) {
    bool released = false;
    for (Group& g : warp.groups) {
      if (g.wait != WaitKind::kBarrier || g.barrier != id) continue;
      g.wait = WaitKind::kReady;
      g.barrier = 0;
      g.released = g.wants_result;
      if (!g.wants_result) ++g.pc;
      g.wants_result = false;
      released = true;
    }
    if (released && warp.active) UpdateStop(warp);
  }
}

std::string ThreadText(const Block& block, const Warp& w, uint32_t lanes) {
  const uint32_t first = w.thread(std::countr_zero(lanes));
  const int count = std::popcount(lanes);
  return std::to_string(count) + (count == 1 ? " thread" : " threads") + " of warp " +
         std::to_string(w.index) + " (from thread " + std::to_string(first) + " of " +
         std::to_string(block.launch->threads) + ")";
}

}  // namespace

void ArriveAtBarrier(Warp& w, const Inst& i, uint32_t id, uint32_t count, BarrierKind kind,
                     bool aligned, uint32_t predicate) {
  Block& block = *w.block;
  const int lane = std::countr_zero(w.exec);
  if (id >= 16) {
    Report(w, i, lane, Check::kBarrier, "barrier " + std::to_string(id) + ": there are 0 to 15");
    throw LaunchFault{kErrorLaunchFailure};
  }
  if (count % kLanes) {
    Report(w, i, lane, Check::kBarrier,
           "barrier " + std::to_string(id) + " for " + std::to_string(count) +
               " threads: must be a multiple of 32");
    throw LaunchFault{kErrorLaunchFailure};
  }
  if (aligned) {
    if (!GatherWarp(w)) return;
    if (const uint32_t ended = w.existing & ~w.alive) {
      Report(w, i, lane, Check::kBarrier,
             "barrier " + std::to_string(id) + " is not reached by all threads of the warp: " +
                 ThreadText(block, w, ended) + " ended before it");
    }
  }
  Barrier& barrier = block.barriers[id];
  barrier.lanes.resize(block.warps.size());
  if (barrier.arrived && barrier.expected != count) {
    Report(w, i, lane, Check::kBarrier,
           "barrier " + std::to_string(id) + " for " + std::to_string(count) +
               " threads, where others arrived for " + std::to_string(barrier.expected) +
               " (0: all of the block)");
  }
  barrier.expected = count;
  barrier.lanes[w.index] |= w.exec;
  barrier.arrived += aligned ? kLanes : static_cast<uint32_t>(std::popcount(w.exec));
  const uint32_t yes = predicate & w.exec;
  barrier.all &= yes == w.exec;
  barrier.any |= yes != 0;
  barrier.count += static_cast<uint32_t>(std::popcount(yes));
  if (kind == BarrierKind::kArrive) {
    if (block.races) block.races->OnArrive(w, id, w.exec);
  } else {
    Group g;
    g.wait = WaitKind::kBarrier;
    g.barrier = id;
    g.wants_result = kind == BarrierKind::kReduce;
    Suspend(w, g);
  }
  CompleteBarriers(block);
}

void CompleteBarriers(Block& block) {
  for (uint32_t id = 0; id < 16; ++id) {
    if (block.barriers[id].arrived && IsComplete(block, block.barriers[id])) Release(block, id);
  }
}

void ReportDeadlock(Block& block) {
  for (Warp& w : block.warps) {
    for (const Group& g : w.groups) {
      const Inst& at = g.frame->code->insts[g.pc];
      const int lane = std::countr_zero(g.mask);
      if (g.wait == WaitKind::kBarrier) {
        std::string absent;
        for (const Warp& other : block.warps) {
          const uint32_t lanes = other.alive & ~block.barriers[g.barrier].lanes[other.index];
          if (!lanes) continue;
          absent = ThreadText(block, other, lanes);
          for (const Group& elsewhere : other.groups) {
            if (!(elsewhere.mask & lanes)) continue;
            absent += " wait at PTX line " +
                      std::to_string(elsewhere.frame->code->insts[elsewhere.pc].ptx_line);
            break;
          }
          break;
        }
        Report(w, at, lane, Check::kBarrier,
               "barrier " + std::to_string(g.barrier) + " is never reached by all its threads: " +
                   (absent.empty() ? "too few arrive for its count" : absent));
      } else if (g.aligned_barrier) {
        Report(w, at, lane, Check::kBarrier,
               "barrier reached by a part of the warp only: " + ThreadText(block, w, g.mask) +
                   " wait here for the others");
      } else {
        const uint32_t absent = g.sync_mask & w.alive & ~g.mask;
        Report(w, at, lane, Check::kWarpSync,
               "lanes named in the member mask never come: " + ThreadText(block, w, absent) +
                   " wait elsewhere");
      }
    }
  }
  throw LaunchFault{kErrorLaunchFailure};
}

}  // namespace softgpu
