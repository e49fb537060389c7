// See ops_memory.h: from addresses to bytes, with the checks on the way. The patterns that kernels
// mostly have, all lanes side by side or all at one address, are checked as one range.
#include <cstring>

#include "tests/softgpu/machine/async_copies.h"
#include "tests/softgpu/machine/async_records.h"
#include "tests/softgpu/machine/byte_states.h"
#include "tests/softgpu/machine/lanes.h"
#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/machine/ops_memory.h"

namespace softgpu {
namespace {

using Pattern = Access::Pattern;

const char* SpaceName(ptx::Space space) {
  switch (space) {
    case ptx::Space::kShared:
      return "shared";
    case ptx::Space::kLocal:
      return "local";
    case ptx::Space::kParam:
      return "param";
    case ptx::Space::kConst:
      return "const";
    default:
      return "global";
  }
}

std::string What(const Access& access) {
  return std::string(access.atomic  ? "atomic operation on "
                     : access.write ? "store of "
                                    : "load of ") +
         std::to_string(access.bytes) + " bytes at " + SpaceName(access.space) + " address ";
}

// Reports; throws where the check is on.
void OutOfBounds(const Warp& w, const Inst& i, int lane, const Access& access, uint64_t address,
                 const std::string& where) {
  Check check = Check::kOutOfBounds;
  if (access.space == ptx::Space::kGlobal) {
    const Allocation near = w.block->launch->device->memory().Nearest(address);
    if (near.freed && address - near.address < near.bytes) check = Check::kUseAfterFree;
  }
  if (Report(w, i, lane, check, What(access) + where)) throw LaunchFault{kErrorIllegalAddress};
}

// Where the check is off, the access is done as it stands.
void CheckAlignment(const Warp& w, const Inst& i, int lane, const Access& access,
                    uint64_t address) {
  if ((address & (access.bytes - 1)) == 0) return;
  if (Report(w, i, lane, Check::kMisaligned,
             What(access) + Hex(address) + ", which is no multiple of " +
                 std::to_string(access.bytes))) {
    throw LaunchFault{kErrorMisalignedAddress};
  }
}

// Over the lanes of the mask.
struct Extent {
  uint64_t low = ~uint64_t{0}, high = 0, bits = 0;
};
Extent ExtentOf(const Access& access) {
  Extent e;
  if (access.mask == kAllLanes) {
    for (uint32_t l = 0; l < kLanes; ++l) {
      const uint64_t a = access.address[l];
      e.low = a < e.low ? a : e.low;
      e.high = a > e.high ? a : e.high;
      e.bits |= a;
    }
    return e;
  }
  ForLanes(access.mask, [&](int lane) {
    const uint64_t a = access.address[lane];
    e.low = std::min(e.low, a);
    e.high = std::max(e.high, a);
    e.bits |= a;
  });
  return e;
}

void FindPattern(Access& access) {
  access.first = static_cast<uint32_t>(std::countr_zero(access.mask));
  const uint64_t* address = access.address;
  const uint64_t a0 = address[access.first];
  if (access.mask == kAllLanes) {
    // Two lanes say which pattern it may be.
    const uint64_t step = address[1] - a0;
    access.pattern = Pattern::kScattered;
    if (step != access.bytes && step != 0) return;
    const int shift = std::countr_zero(access.bytes);
    uint64_t off = 0;
    if (step) {
      for (uint64_t l = 0; l < kLanes; ++l) off |= address[l] ^ (a0 + (l << shift));
    } else {
      for (uint64_t l = 0; l < kLanes; ++l) off |= address[l] ^ a0;
    }
    if (off == 0) access.pattern = step ? Pattern::kUnitStride : Pattern::kUniform;
    return;
  }
  uint64_t off_uniform = 0;
  for (uint32_t l = 0; l < kLanes; ++l) {
    off_uniform |= (access.mask >> l) & 1 ? address[l] ^ a0 : 0;
  }
  access.pattern = off_uniform == 0 ? Pattern::kUniform : Pattern::kScattered;
}

// Where the lanes' bytes and states are, from those of an address on; whether all are written.
template <class Word>
bool PlaceWords(const Access& access, uint8_t* data, uint8_t* state, uint64_t from, Reached& r) {
  Word all = AllWritten<Word>();  // whose bit no other state has
  const auto look = [&](int lane) {
    Word word;
    std::memcpy(&word, r.state[lane], sizeof(word));
    all &= word;
  };
  if (access.mask == kAllLanes) {
    for (int l = 0; l < kLanes; ++l) {
      const uint64_t at = access.address[l] - from;
      r.data[l] = data + at;
      r.state[l] = state + at;
    }
#pragma GCC unroll 8
    for (int l = 0; l < kLanes; ++l) look(l);
  } else {
    ForLanes(access.mask, [&](int lane) {
      const uint64_t at = access.address[lane] - from;
      r.data[lane] = data + at;
      r.state[lane] = state + at;
      look(lane);
    });
  }
  return IsZero(all ^ AllWritten<Word>());
}
bool PlaceLanes(const Access& access, uint8_t* data, uint8_t* state, uint64_t from, Reached& r) {
  const auto place = access.bytes == 1   ? PlaceWords<uint8_t>
                     : access.bytes == 2 ? PlaceWords<uint16_t>
                     : access.bytes == 4 ? PlaceWords<uint32_t>
                     : access.bytes == 8 ? PlaceWords<uint64_t>
                                         : PlaceWords<States16>;
  return place(access, data, state, from, r);
}

// What the lanes will touch, which is seldom near: all requests before the first use. A request is
// for 64 bytes.
void Prefetch(const DeviceMemory& memory, const Access& access) {
  if (access.mask != kAllLanes) {
    ForLanes(access.mask, [&](int lane) { memory.Prefetch(access.address[lane]); });
    return;
  }
  // Neighbours often share one.
  const int step = access.pattern == Pattern::kUnitStride ? 64 / static_cast<int>(access.bytes) : 4;
  for (int l = 0; l < kLanes; l += step) {
    const uint64_t* const a = access.address + l;
    memory.Prefetch(a[0]);
    if (access.pattern == Pattern::kUnitStride || (a[0] ^ a[3]) / 64 == 0) continue;
    for (int k = 1; k < 4; ++k) memory.Prefetch(a[k]);
  }
}

void ReachGlobalLane(Warp& w, const Inst& i, Reached& r, int lane) {
  DeviceMemory& memory = w.block->launch->device->memory();
  Access& access = r.access;
  const uint64_t address = access.address[lane];
  CheckAlignment(w, i, lane, access, address);
  if (memory.Contains(address)) {
    uint8_t* const state = memory.State(address);
    const uint8_t least = LeastStateOfLane(state, access.bytes);
    if (least != kNoMemory) {
      r.data[lane] = memory.Data(address);
      r.state[lane] = state;
      r.written &= least == kWritten;
      return;
    }
  } else if (memory.FindHost(address, access.bytes)) {
    r.data[lane] = reinterpret_cast<uint8_t*>(address);
    r.state[lane] = nullptr;
    return;
  }
  OutOfBounds(w, i, lane, access, address, memory.Describe(address));
  access.mask &= ~(1u << lane);
}

void ReachGlobal(Warp& w, const Inst& i, Reached& r) {
  Access& access = r.access;
  DeviceMemory& memory = w.block->launch->device->memory();
  r.written = true;
  if (access.pattern == Pattern::kUnitStride) {
    const uint64_t a0 = access.address[0];
    if (memory.Contains(a0) && (a0 & (access.bytes - 1)) == 0) {
      Prefetch(memory, access);
      uint8_t* const state = memory.State(a0);
      const uint8_t least = LeastState(state, kLanes * access.bytes);
      if (least != kNoMemory) {
        r.data[0] = memory.Data(a0);
        r.state[0] = state;
        r.written = least == kWritten;
        return;
      }
    }
    access.pattern = Pattern::kScattered;
  }
  if (access.pattern == Pattern::kUniform) {
    ReachGlobalLane(w, i, r, static_cast<int>(access.first));
    if (!((access.mask >> access.first) & 1)) access.mask = 0;
    return;
  }
  // The usual case at once, the others one by one.
  const Extent extent = ExtentOf(access);
  if ((extent.bits & (access.bytes - 1)) == 0 && memory.Contains(extent.low) &&
      memory.Contains(extent.high)) {
    Prefetch(memory, access);
    if (PlaceLanes(access, memory.Data(extent.low), memory.State(extent.low), extent.low, r)) {
      return;
    }
  }
  ForLanes(access.mask, [&](int lane) { ReachGlobalLane(w, i, r, lane); });
  if (access.mask) access.first = static_cast<uint32_t>(std::countr_zero(access.mask));
}

void ReachSharedLane(Warp& w, const Inst& i, Reached& r, int lane) {
  Block& block = *w.block;
  Access& access = r.access;
  const uint64_t offset = access.address[lane];
  CheckAlignment(w, i, lane, access, offset);
  const uint64_t end = kSharedBase + uint64_t{block.launch->shared_bytes};
  if (offset < kSharedBase || offset + access.bytes > end) {
    OutOfBounds(w, i, lane, access, offset,
                Hex(offset) + ", outside of the block's " +
                    std::to_string(block.launch->shared_bytes) + " bytes at " + Hex(kSharedBase));
    access.mask &= ~(1u << lane);
    return;
  }
  r.data[lane] = block.shared.data() + offset;
  r.state[lane] = block.shared_state.data() + offset;
  r.written &= LeastStateOfLane(r.state[lane], access.bytes) == kWritten;
}

void ReachShared(Warp& w, const Inst& i, Reached& r) {
  Access& access = r.access;
  Block& block = *w.block;
  r.written = true;
  if (access.pattern == Pattern::kUnitStride) {
    const uint64_t a0 = access.address[0];
    const uint64_t end = kSharedBase + uint64_t{block.launch->shared_bytes};
    if (a0 >= kSharedBase && a0 + kLanes * access.bytes <= end && (a0 & (access.bytes - 1)) == 0) {
      r.data[0] = block.shared.data() + a0;
      r.state[0] = block.shared_state.data() + a0;
      r.written = LeastState(r.state[0], kLanes * access.bytes) == kWritten;
      return;
    }
    access.pattern = Pattern::kScattered;
  }
  if (access.pattern == Pattern::kUniform) {
    ReachSharedLane(w, i, r, static_cast<int>(access.first));
    if (!((access.mask >> access.first) & 1)) access.mask = 0;
    return;
  }
  const Extent extent = ExtentOf(access);
  if ((extent.bits & (access.bytes - 1)) == 0 && extent.low >= kSharedBase &&
      extent.high + access.bytes <= kSharedBase + uint64_t{block.launch->shared_bytes}) {
    r.written = PlaceLanes(access, block.shared.data(), block.shared_state.data(), 0, r);
    return;
  }
  ForLanes(access.mask, [&](int lane) { ReachSharedLane(w, i, r, lane); });
  if (access.mask) access.first = static_cast<uint32_t>(std::countr_zero(access.mask));
}

void ReachLocal(Warp& w, const Inst& i, Reached& r) {
  Access& access = r.access;
  access.pattern = Pattern::kScattered;  // lanes' memories are apart, whatever their addresses
  r.written = false;
  const uint64_t end = w.frame->local_base + uint64_t{w.frame->code->local_bytes};
  ForLanes(access.mask, [&](int lane) {
    const uint64_t offset = access.address[lane];
    CheckAlignment(w, i, lane, access, offset);
    if (offset + access.bytes <= end) return;
    OutOfBounds(w, i, lane, access, offset,
                Hex(offset) + ", outside of the thread's " + std::to_string(end) + " bytes");
    access.mask &= ~(1u << lane);
  });
  w.counters->local_bytes += static_cast<uint64_t>(std::popcount(access.mask)) * access.bytes;
}

void ReachParam(Warp& w, const Inst& i, Reached& r) {
  Access& access = r.access;
  r.written = true;
  access.pattern = Pattern::kScattered;
  const Launch& launch = *w.block->launch;
  ForLanes(access.mask, [&](int lane) {
    const uint64_t offset = access.address[lane] & 0xffffffffu;
    if (access.write || offset + access.bytes > launch.code->param_bytes) {
      OutOfBounds(w, i, lane, access, offset,
                  Hex(offset) + (access.write ? ": parameters cannot be written"
                                              : ", outside of the kernel's " +
                                                    std::to_string(launch.code->param_bytes) +
                                                    " bytes of parameters"));
      access.mask &= ~(1u << lane);
      return;
    }
    r.data[lane] = const_cast<uint8_t*>(launch.params) + offset;  // only ever read
    r.state[lane] = nullptr;
  });
  if (access.mask) access.first = static_cast<uint32_t>(std::countr_zero(access.mask));
}

// The space of an address whose instruction does not say it.
ptx::Space SpaceOf(uint64_t address, ptx::Space stated) {
  switch (address >> kWindowShift) {
    case kSharedWindow >> kWindowShift:
      return ptx::Space::kShared;
    case kLocalWindow >> kWindowShift:
      return ptx::Space::kLocal;
    case kParamWindow >> kWindowShift:
      return ptx::Space::kParam;
    default:
      // A function's own parameters are at plain offsets of its frame.
      return stated == ptx::Space::kParam ? ptx::Space::kLocal : ptx::Space::kGlobal;
  }
}

}  // namespace

uint32_t TakeAddresses(Warp& w, const Inst& i, const AccessSpec& spec, uint64_t* addresses) {
  const uint64_t offset = static_cast<uint64_t>(spec.offset);
  if (spec.base == kNoRef) {
    for (int l = 0; l < kLanes; ++l) addresses[l] = offset;
    return w.exec;
  }
  if (spec.narrow) {
    const uint32_t* base = Get<uint32_t>(w, spec.base);
    for (int l = 0; l < kLanes; ++l) addresses[l] = base[l] + offset;
  } else {
    const uint64_t* base = Get<uint64_t>(w, spec.base);
    for (int l = 0; l < kLanes; ++l) addresses[l] = base[l] + offset;
  }
  const uint32_t unknown = w.exec & AnyShadow(Shadow(w, spec.base, spec.narrow ? 4 : 8));
  if (unknown && Report(w, i, std::countr_zero(unknown), Check::kUninitialised,
                        "an address depends on a value that was never written")) {
    return w.exec & ~unknown;
  }
  return w.exec;
}

namespace {

// For the check of proxies.
void NoteWrite(Warp& w, const Access& access) {
  ForLanes(access.mask, [&](int l) {
    NoteProxyWrite(*w.block, w.thread(l), static_cast<uint32_t>(access.address[l]), access.bytes);
  });
}

}  // namespace

void Reach(Warp& w, const Inst& i, const AccessSpec& spec, const uint64_t* addresses,
           uint32_t* rest, Reached& r) {
  Access& access = r.access;
  access.bytes = spec.bytes;
  access.write = spec.write;
  access.atomic = spec.atomic;
  access.order = spec.order;
  access.scope = spec.scope;
  access.mask = *rest;
  access.space = spec.space;
  if (spec.space == ptx::Space::kGeneric || spec.space == ptx::Space::kParam) {
    const int lane = std::countr_zero(*rest);
    const uint64_t window = addresses[lane] >> kWindowShift;
    access.space = SpaceOf(addresses[lane], spec.space);
    uint32_t same = 0;
    for (int l = 0; l < kLanes; ++l) {
      same |= static_cast<uint32_t>(addresses[l] >> kWindowShift == window) << l;
    }
    access.mask &= same;
  } else if (spec.space == ptx::Space::kConst) {
    access.space = ptx::Space::kGlobal;
  }
  *rest &= ~access.mask;
  if (access.space == ptx::Space::kShared || access.space == ptx::Space::kLocal) {
    for (int l = 0; l < kLanes; ++l) access.address[l] = addresses[l] & 0xffffffffu;
  } else {
    std::memcpy(access.address, addresses, sizeof(access.address));
  }
  FindPattern(access);
  switch (access.space) {
    case ptx::Space::kShared:
      ReachShared(w, i, r);
      break;
    case ptx::Space::kLocal:
      ReachLocal(w, i, r);
      return;
    case ptx::Space::kParam:
      ReachParam(w, i, r);
      return;
    default:
      ReachGlobal(w, i, r);
  }
  if (!access.mask) return;
  if (access.space == ptx::Space::kShared && spec.check_in_flight && w.block->async) {
    CheckInFlight(w, i, access);
  }
  if (w.block->follows_writes && access.space == ptx::Space::kShared && access.write) {
    NoteWrite(w, access);
  }
  if (spec.counted) CountAccess(access, *w.counters);
  if (spec.check_races && w.block->races) w.block->races->OnAccess(w, i, access);
}

}  // namespace softgpu
