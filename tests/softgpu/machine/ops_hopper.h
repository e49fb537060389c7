// What the files of sm_90a's instructions share.
#pragma once

#include "tests/softgpu/machine/decode.h"

namespace softgpu {

// Called by AddHopperOps.
void AddWgmmaOps(BuilderTable& table);
void AddMbarrierOps(BuilderTable& table);

// cp.async.mbarrier.arrive; its first words are those of copies.
void BuildCopyArrive(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

}  // namespace softgpu
