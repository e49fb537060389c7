// How a warp's access to global memory falls into chunks (see global_record.h) and parts of them.
#pragma once

#include <cstdint>

#include "tests/softgpu/machine/global_group.h"

namespace softgpu::global_record {

inline constexpr uint64_t kChunk = 16;              // bytes
inline constexpr uint64_t kRow = kVector * kChunk;  // whose entries lie side by side

// Of chunks that lanes of so many bytes fill.
inline uint64_t ShapeOf(uint32_t bytes) {
  return bytes == 4 ? kSingles : bytes == 8 ? kPairs : kWhole;
}

// What the lanes of a scattered access touch, in their order: chunks that a lane or neighbours
// fill, and the rest.
struct Pieces {
  uint64_t address[kLanes];
  alignas(32) uint64_t me[kLanes];
  uint32_t chunks = 0, count = 0;
  bool IsChunk(uint32_t k) const { return (chunks >> k) & 1; }
  bool IsRow(uint32_t k) const {
    if (((chunks >> k) & 15) != 15 || address[k] % kRow) return false;
    bool row = true;
    for (uint32_t j = 1; j < kVector; ++j) row &= address[k + j] == address[k] + j * kChunk;
    return row;
  }
  // All lanes, neighbours filling chunks. False: they do not.
  bool Fill(const DeviceMemory& memory, const Access& access, uint64_t first) {
    if (access.mask != kAllLanes || access.bytes < 4) return false;
    const uint32_t lanes = static_cast<uint32_t>(kChunk) / access.bytes;
    uint64_t off = 0;
    for (uint32_t l = 0; l < kLanes; l += lanes) {
      const uint64_t at = access.address[l];
      off |= at % kChunk | static_cast<uint64_t>(!memory.Contains(at));
      for (uint32_t j = 1; j < lanes; ++j) off |= access.address[l + j] ^ (at + j * access.bytes);
      address[count] = at;
      me[count++] = first + (uint64_t{l} << kLaneShift);
    }
    chunks = kAllLanes >> (kLanes - count);
    return off == 0;
  }
  void Add(uint64_t at, uint64_t record, uint32_t bytes) {
    address[count] = at;
    me[count] = record;
    const uint32_t lanes = bytes >= 4 ? static_cast<uint32_t>(kChunk) / bytes : 0;
    ++count;
    if (lanes == 0 || at % kChunk != kChunk - bytes || count < lanes) return;
    for (uint32_t j = 1; j < lanes; ++j) {
      const uint32_t k = count - 1 - j;
      if (IsChunk(k) || address[k] != at - j * bytes) return;
      if (me[k] != record - (uint64_t{j} << kLaneShift)) return;
    }
    count -= lanes - 1;
    chunks |= 1u << (count - 1);
    me[count - 1] -= kMaskBits - ShapeOf(bytes);
  }
};

}  // namespace softgpu::global_record
