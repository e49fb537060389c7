// How ops reach memory: addresses of the lanes are taken, their window resolved, bounds, alignment
// and races checked, costs counted, before a byte is touched. For ld, st, atom, cp.async, ldmatrix.
#pragma once

#include "tests/softgpu/machine/decode.h"
#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// What an instruction asks for; kept as Inst::extra by the builders.
struct AccessSpec {
  ptx::Space space = ptx::Space::kGeneric;
  Ref base = kNoRef;    // no base: offset is the whole address
  bool narrow = false;  // the base has 4 bytes a lane
  int64_t offset = 0;
  uint32_t bytes = 4;  // a lane
  bool write = false;
  bool atomic = false;
  Order order = Order::kWeak;
  Scope scope = Scope::kBlock;
  bool check_races = true;
  // Bytes written to shared memory that are still in flight are a finding, unless the op is the one
  // that deals with them.
  bool check_in_flight = true;
  bool counted = true;  // as a cost
};

// Lanes of one space whose addresses passed all checks.
struct Reached {
  Access access;
  bool written = false;  // no byte is kUnwritten (known for sure only where true)
  // Where the lanes' bytes are. kUnitStride: [0] only, the rest follows; kUniform: [access.first]
  // only; kScattered: every lane of access.mask. state is null for host memory and parameters (all
  // written). Of local memory neither is set: use ReadLocal, WriteLocal.
  uint8_t* data[kLanes];
  uint8_t* state[kLanes];
};

// The lanes' addresses, offset included. An address that was never written is a finding; its lane
// is left out of the result.
uint32_t TakeAddresses(Warp& warp, const Inst& inst, const AccessSpec& spec, uint64_t* addresses);
// Takes the lanes of one space out of *rest. Throws LaunchFault after a finding that cannot go on;
// where that check is off, the lanes are left out, and access.mask may be 0.
void Reach(Warp& warp, const Inst& inst, const AccessSpec& spec, const uint64_t* addresses,
           uint32_t* rest, Reached& reached);

// Local memory of a lane: bytes and states, in words of 4.
void ReadLocal(const Warp& warp, int lane, uint64_t offset, uint32_t bytes, uint8_t* data,
               uint8_t* state);
void WriteLocal(Warp& warp, int lane, uint64_t offset, uint32_t bytes, const uint8_t* data,
                const uint8_t* state);

// For ops that read a lane's bytes whatever the space.
inline uint32_t LaneOf(const Access& access, int lane) {
  return access.pattern == Access::Pattern::kUniform ? access.first : static_cast<uint32_t>(lane);
}
inline uint8_t* LaneData(const Reached& r, int lane) {
  if (r.access.pattern == Access::Pattern::kUnitStride) return r.data[0] + lane * r.access.bytes;
  return r.data[LaneOf(r.access, lane)];
}
inline uint8_t* LaneState(const Reached& r, int lane) {
  if (r.access.pattern == Access::Pattern::kUnitStride) {
    return r.state[0] ? r.state[0] + lane * r.access.bytes : nullptr;
  }
  return r.state[LaneOf(r.access, lane)];
}

// Lanes' bytes follow each other, with or without gaps, so that no byte is touched twice.
inline bool InOrder(const Access& access) {
  if (access.mask != kAllLanes || access.pattern == Access::Pattern::kUniform) return false;
  uint64_t falls = 0;
  for (int l = 1; l < kLanes; ++l) {
    falls |= access.address[l] < access.address[l - 1] + access.bytes;
  }
  return falls == 0;
}

// Makes data and state stand for every lane, whatever the pattern.
inline void FillLanes(Reached& r) {
  if (r.access.pattern == Access::Pattern::kScattered) return;
  const bool unit = r.access.pattern == Access::Pattern::kUnitStride;
  uint8_t* const data = r.data[unit ? 0 : r.access.first];
  uint8_t* const state = r.state[unit ? 0 : r.access.first];
  const size_t step = unit ? r.access.bytes : 0;
  for (size_t l = 0; l < kLanes; ++l) {
    r.data[l] = data + l * step;
    r.state[l] = state ? state + l * step : nullptr;
  }
}

// Takes the words of ld, st and atom up to the type: space, order, scope, cache hints (which mean
// nothing here). Returns the number of vector elements.
int TakeAccessWords(Words& words, AccessSpec& spec, bool* has_cache_hint);
InstClass ClassOf(ptx::Space space, bool write);

}  // namespace softgpu
