// Builders of the logic family, by file; and how predicates combine.
#pragma once

#include "tests/softgpu/machine/alu.h"

namespace softgpu {

// A predicate of all lanes: where it is true, where it was never written.
struct Mixed {
  uint32_t value, shadow;
};
enum class BoolOp : uint8_t { kNone, kAnd, kOr, kXor };
// A lane that one side decides alone (false and ..., true or ...) does not hang on the other.
inline Mixed Combine(BoolOp op, Mixed a, Mixed b) {
  const uint32_t either = a.shadow | b.shadow;
  switch (op) {
    case BoolOp::kAnd:
      return {a.value & b.value, either & ~(~a.value & ~a.shadow) & ~(~b.value & ~b.shadow)};
    case BoolOp::kOr:
      return {a.value | b.value, either & ~(a.value & ~a.shadow) & ~(b.value & ~b.shadow)};
    case BoolOp::kXor:
      return {a.value ^ b.value, either};
    case BoolOp::kNone:
      break;
  }
  return a;
}

// ops_shift.cc
void BuildShl(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildShr(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildShf(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildPrmt(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

// ops_mov.cc
void BuildMov(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

}  // namespace softgpu
