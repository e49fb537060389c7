// What the files of sm_90a's instructions share.
#pragma once

#include "tests/softgpu/machine/decode.h"

namespace softgpu {

// Called by AddHopperOps.
void AddWgmmaOps(BuilderTable& table);
void AddMbarrierOps(BuilderTable& table);

// cp.async.mbarrier.arrive and cp.async.bulk; their first words are those of copies.
void BuildCopyArrive(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);
void BuildBulkCopy(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

}  // namespace softgpu
