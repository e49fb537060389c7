// Groups of lanes: how they part at branches, meet again, wait for each other, and end. See warp.h
// for the rule of who runs next.
#include <algorithm>
#include <cstring>
#include <sstream>

#include "tests/softgpu/machine/async_copies.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/run_block.h"
#include "tests/softgpu/machine/warp_sync.h"

namespace softgpu {
namespace {

Group At(uint32_t mask, uint32_t pc, Frame* frame) {
  Group g;
  g.mask = mask;
  g.pc = pc;
  g.frame = frame;
  return g;
}

bool Behind(const Group& a, const Group& b) {
  if (a.frame->depth != b.frame->depth) return a.frame->depth > b.frame->depth;
  return a.pc < b.pc;
}

void Load(Warp& w, const Group& g) {
  w.active = g.mask;
  w.pc = g.pc;
  w.frame = g.frame;
  w.bases[0] = g.frame->registers;
  w.bases[1] = g.frame->code->constants;
  w.insts = g.frame->code->insts.data();
}

// Adds lanes to the waiting or ready ones, into an equal group if there is one. Lanes that a
// barrier has just let go differ from those that come to it for the next round.
void AddGroup(Warp& w, const Group& g) {
  for (Group& other : w.groups) {
    if (other.pc == g.pc && other.frame == g.frame && other.wait == g.wait &&
        other.barrier == g.barrier && other.sync_mask == g.sync_mask &&
        other.any_place == g.any_place && other.aligned_barrier == g.aligned_barrier &&
        other.released == g.released) {
      other.mask |= g.mask;
      --g.frame->groups;
      return;
    }
  }
  w.groups.push_back(g);
}

std::string LanesText(uint32_t mask) {
  std::ostringstream text;
  const char* between = "";
  for (int l = 0; l < kLanes; ++l) {
    if (!((mask >> l) & 1)) continue;
    int last = l;
    while (last + 1 < kLanes && ((mask >> (last + 1)) & 1)) ++last;
    text << between << l;
    if (last > l) text << "-" << last;
    between = ", ";
    l = last;
  }
  return text.str();
}

}  // namespace

void UpdateStop(Warp& w) {
  uint32_t stop = UINT32_MAX;
  for (const Group& g : w.groups) {
    if (g.frame != w.frame || g.wait == WaitKind::kBarrier) continue;
    if (g.pc >= w.pc) stop = std::min(stop, g.pc);
    // Somebody further behind is to run first, unless this group has its turn.
    if (g.pc < w.pc && g.wait == WaitKind::kReady && !w.has_turn) stop = 0;
  }
  w.stop_pc = stop;
}

bool PickGroup(Warp& w, bool random) {
  Group* best = nullptr;
  uint32_t ready = 0;
  for (Group& g : w.groups) ready += g.wait == WaitKind::kReady;
  if (!ready) return false;
  uint32_t skip = random ? w.block->random.Next() % ready : 0;
  for (Group& g : w.groups) {
    if (g.wait != WaitKind::kReady) continue;
    if (random) {
      if (skip-- == 0) best = &g;
    } else if (!best || Behind(g, *best)) {
      best = &g;
    }
  }
  const Group chosen = *best;
  w.groups.erase(w.groups.begin() + (best - w.groups.data()));
  Load(w, chosen);
  w.released = chosen.released;
  w.has_turn = random && ready > 1;
  w.stop = false;
  UpdateStop(w);
  return true;
}

void Park(Warp& w) {
  if (!w.active) return;
  Group g = At(w.active, w.pc, w.frame);
  g.released = w.released;
  w.active = 0;
  w.released = false;
  AddGroup(w, g);
}

void Meet(Warp& w) {
  for (size_t k = 0; k < w.groups.size();) {
    const Group& g = w.groups[k];
    if (g.frame == w.frame && g.pc == w.pc && g.wait != WaitKind::kBarrier && !g.released) {
      w.active |= g.mask;
      --w.frame->groups;
      w.groups.erase(w.groups.begin() + static_cast<std::ptrdiff_t>(k));
    } else {
      ++k;
    }
  }
  bool behind = false;
  for (const Group& g : w.groups) {
    behind |= g.wait == WaitKind::kReady && (g.frame->depth > w.frame->depth ||
                                             (g.frame->depth == w.frame->depth && g.pc < w.pc));
  }
  if (behind && !w.has_turn) {
    Park(w);
    PickGroup(w, false);
    return;
  }
  UpdateStop(w);
}

void Branch(Warp& w, uint32_t taken, uint32_t target) {
  ++w.counters->branches;
  if (taken == w.active) {
    w.pc = target;
    if (!w.groups.empty()) UpdateStop(w);
    return;
  }
  if (!taken) return;
  ++w.counters->divergent_branches;
  Part(w, taken, target);
  Meet(w);
}

void Part(Warp& w, uint32_t lanes, uint32_t pc) {
  w.active &= ~lanes;
  if (w.active) ++w.frame->groups;
  AddGroup(w, At(lanes, pc, w.frame));
  if (w.active) UpdateStop(w);
}

void Suspend(Warp& w, Group g) {
  g.mask = w.exec;
  g.pc = w.pc - 1;
  g.frame = w.frame;
  w.active &= ~w.exec;
  if (w.active) {
    ++w.frame->groups;
  } else {
    w.stop = true;
  }
  AddGroup(w, g);
  if (w.active) UpdateStop(w);
}

bool Converge(Warp& w, const Inst& i, uint32_t members, bool any_place) {
  const uint32_t here = w.exec;
  if (here & ~members) {
    const int lane = std::countr_zero(here & ~members);
    Report(w, i, lane, Check::kWarpSync,
           "lane " + std::to_string(lane) + " is not in its own member mask (lanes " +
               LanesText(members) + ")");
    members |= here;
  }
  const uint32_t need = members & w.alive;
  uint32_t together = here;
  if (any_place) {
    for (const Group& g : w.groups) {
      if (g.wait == WaitKind::kWarpSync && g.any_place && g.sync_mask == members)
        together |= g.mask;
    }
  }
  if ((need & ~together) == 0) {
    // Whoever names a lane was promised its part; that the lane has ended keeps nobody waiting, but
    // on a GPU it may as well be elsewhere.
    if (const uint32_t ended = members & w.existing & ~w.alive) {
      Report(w, i, std::countr_zero(here), Check::kWarpSync,
             "lanes " + LanesText(ended) +
                 " are in the member mask and have ended without taking part");
    }
    if (any_place) {
      for (Group& g : w.groups) {
        if (g.wait != WaitKind::kWarpSync || !g.any_place || g.sync_mask != members) continue;
        g.wait = WaitKind::kReady;
        g.sync_mask = 0;
        g.any_place = false;
        ++g.pc;
      }
      if (!w.groups.empty()) UpdateStop(w);
    }
    // Of the warp's operations only bar.warp.sync orders memory.
    if (any_place && w.block->races) w.block->races->OnWarpSync(w, together);
    return true;
  }
  Group g;
  g.wait = WaitKind::kWarpSync;
  g.sync_mask = members;
  g.any_place = any_place;
  Suspend(w, g);
  return false;
}

Frame* PushFrame(Warp& w, const Code& code, Frame* caller, uint32_t return_pc, uint32_t lanes) {
  constexpr uint32_t kMaxDepth = 1000;
  constexpr uint32_t kMaxLocal = 512 * 1024;  // bytes a thread, as on a GPU
  Frame* frame = nullptr;
  if (!w.free_frames.empty()) {
    frame = w.free_frames.back();
    w.free_frames.pop_back();
  } else {
    w.frames.push_back(std::make_unique<Frame>());
    frame = w.frames.back().get();
  }
  if (frame->code != &code) {
    frame->storage.resize(code.frame_bytes + 32);
    const size_t misaligned = reinterpret_cast<uintptr_t>(frame->storage.data()) % 32;
    frame->registers = frame->storage.data() + (misaligned ? 32 - misaligned : 0);
    frame->code = &code;
    if (code.frame_bytes) {
      std::memcpy(frame->registers, code.initial_frame.data(), code.frame_bytes);
    }
  } else {
    for (const Code::InitialShadow& shadow : code.initial_shadows) {
      uint8_t* const to = frame->registers + shadow.offset;
      if (shadow.bytes == kLanes) {
        std::memset(to, shadow.value, kLanes);
      } else {
        std::memset(to, shadow.value, 4);
      }
    }
  }
  frame->caller = caller;
  frame->return_pc = return_pc;
  frame->depth = caller ? caller->depth + 1 : 0;
  frame->groups = 0;
  frame->local_base = caller ? caller->local_base + caller->code->local_bytes : 0;
  const uint64_t local_end = uint64_t{frame->local_base} + code.local_bytes;
  if (frame->depth > kMaxDepth || local_end > kMaxLocal) {
    const Inst& at = caller->code->insts[return_pc - 1];
    Report(w, at, std::countr_zero(lanes), Check::kOutOfBounds,
           "the stack of calls is " + std::to_string(frame->depth) + " deep with " +
               std::to_string(local_end) + " bytes of local memory a thread");
    throw LaunchFault{kErrorIllegalAddress};
  }
  const size_t words = static_cast<size_t>(local_end / 4) * kLanes * 4;
  if (w.local.size() < words) {
    w.local.resize(words, 0xcd);
    w.local_state.resize(words, kUnwritten);
  }
  // Other lanes may be in another frame at the same place.
  for (size_t word = frame->local_base / 4; word < local_end / 4; ++word) {
    uint8_t* state = &w.local_state[word * kLanes * 4];
    ForLanes(lanes, [&](int lane) { std::memset(state + lane * 4, kUnwritten, 4); });
  }
  FillSpecials(w, *frame);
  return frame;
}

void Enter(Warp& w, Frame* frame, uint32_t lanes) {
  // The calling frame keeps its count: its lanes are in what it called.
  if (lanes != w.active) Part(w, w.active & ~lanes, w.pc);
  frame->groups = 1;
  Load(w, At(lanes, 0, frame));
  UpdateStop(w);
}

void Leave(Warp& w) {
  Frame* const left = w.frame;
  Frame* const caller = left->caller;
  // A callee that lanes leave one after the other gives each of them back to the caller as a group.
  if (--left->groups == 0) {
    w.free_frames.push_back(left);
  } else {
    ++caller->groups;
  }
  Load(w, At(w.active, left->return_pc, caller));
  if (!w.groups.empty()) Meet(w);
}

void ExitLanes(Warp& w, const Inst& i) {
  const uint32_t lanes = w.exec;
  if (w.block->async) OnThreadExit(w, i, lanes);
  w.alive &= ~lanes;
  w.block->alive -= static_cast<uint32_t>(std::popcount(lanes));
  w.active &= ~lanes;
  if (!w.active) {
    w.stop = true;
    if (--w.frame->groups == 0) w.free_frames.push_back(w.frame);
  }
  // Those that wait for the lanes that ended look again.
  for (Group& g : w.groups) {
    if (g.wait != WaitKind::kWarpSync) continue;
    g.wait = WaitKind::kReady;
    g.sync_mask = 0;
    g.any_place = g.aligned_barrier = false;
  }
  if (w.active) UpdateStop(w);
  CompleteBarriers(*w.block);
}

}  // namespace softgpu
