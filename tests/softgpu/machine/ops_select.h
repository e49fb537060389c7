// Builders of the choosing and classifying instructions, in ops_select.cc.
#pragma once

#include "tests/softgpu/machine/alu.h"

namespace softgpu {

void BuildSelp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildSlct(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildTestp(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildCopysign(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

}  // namespace softgpu
