#include "tests/softgpu/machine/races.h"

#include <bit>
#include <cstdio>
#include <cstring>
#include <optional>
#include <unordered_set>

#include "tests/softgpu/machine/clocks.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/shadow.h"
#include "tests/softgpu/machine/sync_objects.h"

namespace softgpu {

struct LaunchRaces::State {
  DeviceMemory& memory;
  const bool global, shared;
  uint64_t first_number = 0;
  std::atomic<uint64_t> end_number{0};
  KnowledgeStore knowledge;
  SyncObjects objects;
};

LaunchRaces::LaunchRaces(DeviceMemory& memory, bool global, bool shared)
    : state_(new State{memory, global, shared, 0, 0, {}, {}}) {
  // Half of the numbers is plenty for a launch, and forgetting is dear.
  if (memory.next_race_number() > GlobalShadow::kMaxNumber / 2) memory.ForgetRaces();
  state_->first_number = memory.next_race_number();
  state_->end_number = state_->first_number;
}

LaunchRaces::~LaunchRaces() { state_->memory.set_next_race_number(state_->end_number); }

struct BlockRaces::State {
  State(LaunchRaces::State& launch_state, uint32_t warps, uint32_t shared_bytes, int granule_log2)
      : launch(launch_state),
        clocks(launch_state.knowledge, warps),
        global(launch_state.memory, launch_state.first_number, warps),
        alive(warps, 0) {
    if (launch.shared) shared.emplace(shared_bytes, granule_log2);
  }
  void OnConflicts(Warp& warp, const Inst& inst, const Access& access);
  void Settle();
  void Tell(Warp& warp, const Inst& inst, const Access& access, uint32_t lane);
  const uint8_t* BytesOf(const Block& of, const Access& access, uint32_t lane) const;
  // Which lanes of the block's warps have not exited.
  const uint32_t* Alive() {
    for (size_t w = 0; w < alive.size() && block; ++w) alive[w] = block->warps[w].alive;
    return alive.data();
  }
  SyncObjects& ObjectsOf(const Access& access) {
    return access.space == ptx::Space::kShared ? shared_objects : launch.objects;
  }

  LaunchRaces::State& launch;
  BlockClocks clocks;
  std::optional<SharedShadow> shared;
  GlobalShadow global;
  SyncObjects shared_objects;
  std::vector<uint32_t> alive;
  const Block* block = nullptr;  // known from its first access on
  std::unordered_set<const Inst*> told;
  Conflicts conflicts;
  // A write that waits for OnWritten, with the bytes that were there before.
  struct Waiting {
    Warp* warp = nullptr;
    const Inst* inst = nullptr;
    Access access;
    uint8_t before[kLanes][16];
  };
  std::unique_ptr<Waiting> waiting;
};

BlockRaces::BlockRaces(LaunchRaces& launch, uint32_t warps, uint32_t shared_bytes, int granule_log2)
    : state_(std::make_unique<State>(*launch.state_, warps, shared_bytes, granule_log2)) {}

BlockRaces::~BlockRaces() = default;

void BlockRaces::Start(uint64_t block_index) {
  State& s = *state_;
  s.clocks.Start(block_index);
  if (s.shared) s.shared->Start();
  s.global.Start(block_index);
  s.shared_objects.Clear();
  s.block = nullptr;
  const uint64_t end = s.launch.first_number + (block_index + 1) * s.clocks.warps();
  uint64_t old = s.launch.end_number.load(std::memory_order_relaxed);
  while (old < end &&
         !s.launch.end_number.compare_exchange_weak(old, end, std::memory_order_relaxed)) {
  }
}

void BlockRaces::OnAccess(Warp& warp, const Inst& inst, const Access& access) {
  State& s = *state_;
  s.block = warp.block;
  s.conflicts.lanes = 0;
  s.waiting.reset();
  if (access.space == ptx::Space::kShared) {
    if (!s.shared) return;
    s.shared->OnAccess(s.clocks, warp.index, access, inst.ptx_line, &s.conflicts);
  } else {
    if (!s.launch.global) return;
    s.global.OnAccess(s.clocks, warp.index, access, inst.ptx_line, &s.conflicts);
  }
  if (s.conflicts.lanes) s.OnConflicts(warp, inst, access);
  if (access.order != Order::kWeak && (access.write || access.atomic)) {
    s.clocks.Publish(warp.index, access, s.ObjectsOf(access));
  }
}

void BlockRaces::OnWritten() {
  if (state_->waiting) state_->Settle();
}

void BlockRaces::OnStrongRead(Warp& warp, const Access& access) {
  State& s = *state_;
  s.clocks.Collect(warp.index, access, s.ObjectsOf(access));
}

void BlockRaces::OnArrive(Warp& warp, uint32_t id, uint32_t mask) {
  state_->block = warp.block;
  state_->clocks.Arrive(warp.index, id, mask, warp.alive);
}

void BlockRaces::OnBarrier(const uint32_t* lanes, uint32_t id) {
  State& s = *state_;
  // Without a block there was no access to order.
  if (s.block) s.clocks.Barrier(id, lanes, s.Alive());
}

void BlockRaces::OnWarpSync(Warp& warp, uint32_t mask) {
  state_->clocks.WarpSync(warp.index, mask, warp.alive);
}

void BlockRaces::OnFence(Warp& warp, uint32_t mask, Scope scope) {
  state_->clocks.Fence(warp.index, mask, warp.alive, scope);
}

namespace {

// "(x,y,z)" of a linear index.
std::string Place3(uint64_t index, const uint32_t* size) {
  const uint64_t rest = index / size[0];
  char text[80];
  std::snprintf(text, sizeof(text), "(%llu,%llu,%llu)",
                static_cast<unsigned long long>(index % size[0]),
                static_cast<unsigned long long>(rest % size[1]),
                static_cast<unsigned long long>(rest / size[1]));
  return text;
}

// "line 12 (file.cu:3)": where the kernel's own code has that line, with its source.
std::string LineText(const Launch& launch, int line) {
  std::string text = "line " + std::to_string(line);
  for (const Inst& inst : launch.code->insts) {
    if (inst.ptx_line != line) continue;
    const std::string source = launch.config->module->SourceText(inst.source);
    if (!source.empty()) text += " (" + source + ")";
    break;
  }
  return text;
}

const char* Kind(const Access& access) {
  if (access.atomic) return "atomic";
  return access.write ? "write" : "read";
}

}  // namespace

const uint8_t* BlockRaces::State::BytesOf(const Block& of, const Access& access,
                                          uint32_t lane) const {
  const uint64_t address = AddressOf(access, lane);
  return access.space == ptx::Space::kShared ? &of.shared[address] : launch.memory.Data(address);
}

void BlockRaces::State::OnConflicts(Warp& warp, const Inst& inst, const Access& access) {
  for (uint32_t m = conflicts.lanes; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    if (access.write && !access.atomic && conflicts.of[lane].other_writes) continue;
    Tell(warp, inst, access, lane);
    return;
  }
  if (told.count(&inst)) return;
  if (!waiting) waiting = std::make_unique<Waiting>();
  waiting->warp = &warp;
  waiting->inst = &inst;
  waiting->access = access;
  for (uint32_t m = conflicts.lanes; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    std::memcpy(waiting->before[lane], BytesOf(*warp.block, access, lane), access.bytes);
  }
}

void BlockRaces::State::Settle() {
  const std::unique_ptr<Waiting> write = std::move(waiting);
  for (uint32_t m = conflicts.lanes; m; m &= m - 1) {
    const uint32_t lane = static_cast<uint32_t>(std::countr_zero(m));
    const uint8_t* const now = BytesOf(*write->warp->block, write->access, lane);
    if (std::memcmp(write->before[lane], now, write->access.bytes) == 0) continue;
    Tell(*write->warp, *write->inst, write->access, lane);
    return;
  }
}

void BlockRaces::State::Tell(Warp& warp, const Inst& inst, const Access& access, uint32_t lane) {
  // Order is no longer known for sure, or the place has been reported.
  if (launch.knowledge.full() || !told.insert(&inst).second) return;
  const Conflict& conflict = conflicts.of[lane];
  const Launch& running = *warp.block->launch;
  const uint32_t* const size = running.config->block;
  const bool in_shared = access.space == ptx::Space::kShared;
  const bool same_block = conflict.other_block == clocks.block();
  std::string text = access.order == Order::kWeak ? "" : "strong ";
  text += Kind(access);
  text += " of " + std::to_string(access.bytes) + " bytes at ";
  text += in_shared ? "shared " + Hex(conflict.address) : launch.memory.Describe(conflict.address);
  text += " by thread " + Place3(warp.thread(static_cast<int>(lane)), size);
  text += std::string(" races with the ") + (conflict.other_writes ? "write" : "read") + " by ";
  if (conflict.other_lane < kLanes) {
    text += "thread " + Place3(conflict.other_warp * kLanes + conflict.other_lane, size);
  } else {
    text += "threads of warp " + std::to_string(conflict.other_warp);
  }
  if (!same_block) text += " of block " + Place3(conflict.other_block, running.config->grid);
  if (conflict.other_line > 0) text += " at " + LineText(running, conflict.other_line);
  if (!same_block) {
    text += ": blocks are ordered by fences around strong accesses only";
  } else if (conflict.other_warp == warp.index) {
    text += ": no barrier or __syncwarp in between";
  } else {
    text += ": no barrier in between";
  }
  Report(warp, inst, static_cast<int>(lane), in_shared ? Check::kRaceShared : Check::kRaceGlobal,
         text);
}

}  // namespace softgpu
