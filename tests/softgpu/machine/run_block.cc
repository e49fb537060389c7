// The loop that runs a block: warps in random turns, instructions one after the other.
#include "tests/softgpu/machine/run_block.h"

#include <algorithm>
#include <cstring>

#include "tests/softgpu/machine/async_copies.h"
#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/warp_sync.h"

namespace softgpu {
namespace {

bool HasReady(const Warp& w) {
  return std::any_of(w.groups.begin(), w.groups.end(),
                     [](const Group& g) { return g.wait == WaitKind::kReady; });
}

void CountFlops(Counters& c, const Inst& i, uint32_t exec) {
  const uint64_t lanes = static_cast<uint64_t>(std::popcount(exec));
  switch (i.klass) {
    case InstClass::kFloat32:
      c.flops_f32 += i.flops * lanes;
      break;
    case InstClass::kFloat64:
      c.flops_f64 += i.flops * lanes;
      break;
    case InstClass::kHalf:
      c.flops_half += i.flops * lanes;
      break;
    case InstClass::kMatrix:
      c.flops_mma += i.flops_warp;
      break;
    case InstClass::kSpecialFunction:
      c.special_functions += lanes;
      break;
    default:
      break;
  }
}

// The guard's lanes among the active ones.
inline uint32_t Guarded(Warp& w, const Inst& i) {
  uint32_t value = PredicateValue(w, i.guard);
  const uint32_t unknown = PredicateShadow(w, i.guard) & w.active;
  if (unknown) {
    Report(w, i, std::countr_zero(unknown), Check::kUninitialised,
           i.klass == InstClass::kBranch
               ? "a branch depends on a value that was never written"
               : "whether this runs depends on a value that was never written");
  }
  if (i.guard_negated) value = ~value;
  return value & w.active;
}

// Of all lanes alike.
uint64_t WarpSpecial(const Warp& w, SpecialKind kind) {
  const Block& block = *w.block;
  const Launch& launch = *block.launch;
  const auto component = [kind](SpecialKind x) {
    return static_cast<int>(kind) - static_cast<int>(x);
  };
  switch (kind) {
    case SpecialKind::kNtidX:
    case SpecialKind::kNtidY:
    case SpecialKind::kNtidZ:
      return launch.config->block[component(SpecialKind::kNtidX)];
    case SpecialKind::kCtaidX:
    case SpecialKind::kCtaidY:
    case SpecialKind::kCtaidZ:
      return block.id[component(SpecialKind::kCtaidX)];
    case SpecialKind::kNctaidX:
    case SpecialKind::kNctaidY:
    case SpecialKind::kNctaidZ:
      return launch.config->grid[component(SpecialKind::kNctaidX)];
    case SpecialKind::kWarpId:
      return w.index;
    case SpecialKind::kNwarpId:
      return launch.warps;
    case SpecialKind::kSmId:
      return block.index % launch.device->multiprocessors();
    case SpecialKind::kNsmId:
      return launch.device->multiprocessors();
    case SpecialKind::kGridId:
      return launch.serial;
    case SpecialKind::kDynamicSharedSize:
      return launch.config->dynamic_shared;
    case SpecialKind::kTotalSharedSize:
      return launch.shared_bytes;
    case SpecialKind::kWorkspaceHigh:
      return launch.config->grid_workspace >> 32;
    case SpecialKind::kWorkspaceLow:
      return launch.config->grid_workspace & 0xffffffffu;
    case SpecialKind::kOne:
      return 1;
    // All named, so that the compiler tells of a kind that is missing.
    case SpecialKind::kTidX:
    case SpecialKind::kTidY:
    case SpecialKind::kTidZ:
    case SpecialKind::kLaneId:
    case SpecialKind::kLaneMaskEq:
    case SpecialKind::kLaneMaskLe:
    case SpecialKind::kLaneMaskLt:
    case SpecialKind::kLaneMaskGe:
    case SpecialKind::kLaneMaskGt:
    case SpecialKind::kLocalAddress:
    case SpecialKind::kZero:
    case SpecialKind::kCount:
      break;
  }
  return 0;
}

// Threads of the warp by their places in the block; lanes behind the last thread go on counting.
struct ThreadPlaces {
  explicit ThreadPlaces(const Warp& w) {
    const uint32_t* n = w.block->launch->config->block;
    const uint32_t first = w.thread(0);
    uint32_t x = first % n[0], y = first / n[0] % n[1], z = first / n[0] / n[1];
    for (int l = 0; l < kLanes; ++l) {
      tid[0][l] = x;
      tid[1][l] = y;
      tid[2][l] = z;
      if (++x < n[0]) continue;
      x = 0;
      if (++y < n[1]) continue;
      y = 0;
      ++z;
    }
  }
  uint32_t tid[3][kLanes];
};

// False: it is the same for all lanes.
bool LaneSpecial(const ThreadPlaces& places, SpecialKind kind, uint64_t* value) {
  const auto fill = [value](auto of_lane) {
    for (uint32_t l = 0; l < kLanes; ++l) value[l] = of_lane(l);
    return true;
  };
  switch (kind) {
    case SpecialKind::kTidX:
    case SpecialKind::kTidY:
    case SpecialKind::kTidZ: {
      const uint32_t* tid =
          places.tid[static_cast<int>(kind) - static_cast<int>(SpecialKind::kTidX)];
      return fill([tid](uint32_t l) { return tid[l]; });
    }
    case SpecialKind::kLaneId:
      return fill([](uint32_t l) { return l; });
    case SpecialKind::kLaneMaskEq:
      return fill([](uint32_t l) { return 1u << l; });
    case SpecialKind::kLaneMaskLe:
      return fill([](uint32_t l) { return (2u << l) - 1; });
    case SpecialKind::kLaneMaskLt:
      return fill([](uint32_t l) { return (1u << l) - 1; });
    case SpecialKind::kLaneMaskGe:
      return fill([](uint32_t l) { return ~((1u << l) - 1); });
    case SpecialKind::kLaneMaskGt:
      return fill([](uint32_t l) { return ~((2u << l) - 1); });
    default:
      return false;
  }
}

template <class T>
void FillSlot(uint8_t* slot, const uint64_t* values) {
  T narrow[kLanes];
  for (int l = 0; l < kLanes; ++l) narrow[l] = static_cast<T>(values[l]);
  std::memcpy(slot, narrow, sizeof(narrow));
  std::memset(slot + sizeof(narrow), 0, kLanes);
}

}  // namespace

void FillSpecials(const Warp& w, Frame& frame) {
  const ThreadPlaces places(w);
  for (const Code::Special& special : frame.code->specials) {
    const bool local = special.kind == SpecialKind::kLocalAddress;
    uint64_t value[kLanes];
    if (!LaneSpecial(places, special.kind, value)) {
      std::fill_n(value, kLanes,
                  local ? (special.value >> 4) + frame.local_base : WarpSpecial(w, special.kind));
    }
    uint8_t* const slot = frame.registers + special.slot;
    switch (local ? special.value & 15 : special.value) {
      case 2:
        FillSlot<uint16_t>(slot, value);
        break;
      case 4:
        FillSlot<uint32_t>(slot, value);
        break;
      default:
        FillSlot<uint64_t>(slot, value);
    }
  }
}

bool Report(const Warp& w, const Inst& i, int lane, Check check, const std::string& text) {
  Launch& launch = *w.block->launch;
  Place place;
  place.kernel = launch.kernel_name;
  const uint32_t* n = launch.config->block;
  const uint32_t thread = w.thread(lane);
  for (int d = 0; d < 3; ++d) place.block[d] = w.block->id[d];
  place.thread[0] = thread % n[0];
  place.thread[1] = thread / n[0] % n[1];
  place.thread[2] = thread / n[0] / n[1];
  place.ptx_line = i.ptx_line;
  place.source = launch.config->module->SourceText(i.source);
  if (!launch.device->findings().Report(check, place, text)) return false;
  launch.found = true;
  return true;
}

BlockRunner::BlockRunner(Launch& launch) : launch_(launch) {
  block_.launch = &launch;
  block_.warps.resize(launch.warps);
  const size_t shared = kSharedBase + launch.shared_bytes + 64;
  block_.shared.assign(shared, 0xcd);
  block_.shared_state.assign(shared, kNoMemory);
  if (launch.races) {
    // Wide granules need accesses that are aligned to them.
    const bool aligned = launch.device->findings().On(Check::kMisaligned);
    const int granule_log2 = std::min(launch.code->shared_granule_log2, aligned ? 4 : 2);
    races_ = std::make_unique<BlockRaces>(*launch.races, launch.warps,
                                          kSharedBase + launch.shared_bytes, granule_log2);
    block_.races = races_.get();
  }
}

BlockRunner::~BlockRunner() { FreeAsync(block_); }

void BlockRunner::Start(uint64_t index) {
  const LaunchConfig& config = *launch_.config;
  block_.index = index;
  block_.id[0] = static_cast<uint32_t>(index % config.grid[0]);
  block_.id[1] = static_cast<uint32_t>(index / config.grid[0] % config.grid[1]);
  block_.id[2] = static_cast<uint32_t>(index / config.grid[0] / config.grid[1]);
  // Drawn from the place in the program, not from the worker: a seed's run repeats.
  block_.random.state = (launch_.device->options().seed + 1) * 0x9E3779B97F4A7C15ULL +
                        launch_.serial * 0xBF58476D1CE4E5B9ULL + index * 0x94D049BB133111EBULL;
  if (block_.random.state == 0) block_.random.state = 1;
  block_.random.Next();
  block_.alive = launch_.threads;
  std::memset(block_.shared_state.data() + kSharedBase, kUnwritten, launch_.shared_bytes);
  for (Barrier& barrier : block_.barriers) barrier = Barrier{};
  FreeAsync(block_);
  if (launch_.code->has_wgmma) FollowProxyWrites(block_, launch_.threads);
  if (races_) races_->Start(index);
  for (uint32_t k = 0; k < launch_.warps; ++k) {
    Warp& w = block_.warps[k];
    w.block = &block_;
    w.counters = &block_.counters;
    w.index = k;
    const uint32_t threads = launch_.threads - k * kLanes;
    w.existing = threads >= kLanes ? kAllLanes : (1u << threads) - 1;
    w.alive = w.existing;
    w.active = 0;
    w.stop = w.yields = w.released = w.has_turn = w.out_of_time = false;
    w.groups.clear();
    w.free_frames.clear();
    for (const auto& frame : w.frames) w.free_frames.push_back(frame.get());
    Group g;
    g.mask = w.alive;
    g.frame = PushFrame(w, *launch_.code, nullptr, 0, w.alive);
    g.frame->groups = 1;
    w.groups.push_back(g);
  }
  ++block_.counters.blocks;
  block_.counters.warps += launch_.warps;
}

void BlockRunner::RunWarp(Warp& w) {
  const uint32_t draw = block_.random.Next();
  // A group that spins would otherwise keep the others waiting: after a whole turn, any may be
  // next.
  if (!PickGroup(w, (draw & 7) == 0 || (w.out_of_time && (draw & 8)))) return;
  w.out_of_time = false;
  Counters& c = *w.counters;
  for (uint32_t budget = 64 + (draw >> 24); budget; --budget) {
    if (w.pc >= w.stop_pc && !w.released) Meet(w);
    const Inst& i = w.insts[w.pc++];
    w.exec = i.guard == kNoRef ? w.active : Guarded(w, i);
    ++c.insts[static_cast<int>(i.klass)];
    ++c.warp_insts;
    c.lane_insts += static_cast<uint64_t>(std::popcount(w.exec));
    if (w.exec == 0) continue;
    if (i.flops | i.flops_warp || i.klass == InstClass::kSpecialFunction) CountFlops(c, i, w.exec);
    i.exec(w, i);
    if (w.stop && !PickGroup(w, false)) return;
    if (w.yields) break;
  }
  w.yields = false;
  w.out_of_time = true;
  Park(w);
}

bool BlockRunner::Step() {
  if (block_.alive == 0) return false;
  const uint32_t n = launch_.warps;
  const uint32_t start = n > 1 ? block_.random.Next() % n : 0;
  for (uint32_t k = 0; k < n; ++k) {
    Warp& w = block_.warps[(start + k) % n];
    if (!HasReady(w)) continue;
    RunWarp(w);
    const uint64_t limit = launch_.device->options().max_instructions;
    if (limit && block_.counters.warp_insts / n > limit) {
      const Group* g = w.groups.empty() ? nullptr : &w.groups[0];
      const Inst& at = g ? g->frame->code->insts[g->pc] : launch_.code->insts[0];
      Report(w, at, 0, Check::kTimeout,
             "a warp ran more than " + std::to_string(limit) + " instructions");
      throw LaunchFault{kErrorLaunchTimeout};
    }
    return true;
  }
  ReportDeadlock(block_);
  return false;
}

}  // namespace softgpu
