// What ld (ops_load.cc), st (ops_store.cc) and their builders (ops_memory.cc) share.
#pragma once

#include <cstdint>
#include <type_traits>
#include <vector>

#include "tests/softgpu/machine/ops_memory.h"

namespace softgpu::load_store {

// Inst::extra.
struct LoadStore {
  AccessSpec spec;
  int elements = 1;
  int element_bytes = 4;
  int slot_bytes = 4;
  bool is_signed = false;
  std::vector<Ref> slots;
};

// All bytes and states of the lanes, in a row, whatever the space.
struct Bytes32 {
  alignas(32) uint8_t data[kLanes][16];
  alignas(32) uint8_t unwritten[kLanes][16];  // 1: was never written
};

struct Wide {  // 128 bits
  uint64_t low, high;
};

// Four rows of 16 bytes as four columns, and back.
using Row = uint32_t __attribute__((vector_size(16)));
inline void Transpose4x4(Row rows[4]) {
  const Row a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
  const Row b = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
  const Row c = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
  const Row d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
  rows[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
  rows[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
  rows[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
  rows[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
}

// Op<Slot, Element>::Run for registers and elements of these sizes; nullptr: there is none.
template <template <class, class> class Op, class Slot>
Exec ExecOfSlot(int element_bytes, bool is_signed) {
  switch (element_bytes) {
    case 1:
      return is_signed ? Op<Slot, int8_t>::Run : Op<Slot, uint8_t>::Run;
    case 2:
      if constexpr (sizeof(Slot) >= 2) {
        return is_signed && sizeof(Slot) > 2 ? Op<Slot, int16_t>::Run : Op<Slot, uint16_t>::Run;
      }
      break;
    case 4:
      if constexpr (sizeof(Slot) >= 4) {
        return is_signed && sizeof(Slot) > 4 ? Op<Slot, int32_t>::Run : Op<Slot, uint32_t>::Run;
      }
      break;
    case 8:
      if constexpr (sizeof(Slot) >= 8) return Op<Slot, uint64_t>::Run;
      break;
  }
  return nullptr;
}
template <template <class, class> class Op>
Exec ExecOf(const LoadStore& op) {
  switch (op.slot_bytes) {
    case 2:
      return ExecOfSlot<Op, uint16_t>(op.element_bytes, op.is_signed);
    case 4:
      return ExecOfSlot<Op, uint32_t>(op.element_bytes, op.is_signed);
    case 8:
      return ExecOfSlot<Op, uint64_t>(op.element_bytes, op.is_signed);
    case 16:
      return op.element_bytes == 16 ? Op<Wide, Wide>::Run : nullptr;
  }
  return nullptr;
}

// nullptr: the register is smaller than the type.
Exec LoadOf(const LoadStore& op);
Exec LoadParamOf(const LoadStore& op);
Exec StoreOf(const LoadStore& op);

}  // namespace softgpu::load_store
