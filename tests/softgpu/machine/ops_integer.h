// Builders of the integer family, by file.
#pragma once

#include "tests/softgpu/machine/alu.h"

namespace softgpu {

// ops_integer_multiply.cc
void BuildMul(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildMad(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildMul24(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildMad24(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildDp4a(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildDp2a(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

// ops_integer_bits.cc
void BuildPopc(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildClz(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildBfind(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildBrev(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildBfe(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildBfi(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildBmsk(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildSzext(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildFns(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

// ops_carry.cc: add, sub, mad with .cc; and addc, subc, madc.
void BuildCarryOut(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildCarryIn(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

}  // namespace softgpu
