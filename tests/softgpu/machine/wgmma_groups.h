// What wgmma uses between its issue and the wait for its group. Accumulators: a program that uses
// them gets what counts as never written; only wgmma itself may go on adding to them. Operands in
// shared memory: at the wait they must be what they were, and no copy may be on its way there.
#pragma once

#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// The shadows, 32 bytes each, that the registers have once earlier products are done.
void TakeSumShadows(Warp& warp, const Ref* registers, int count, uint8_t* shadows);
// Those that they will have after this product.
void HoldSumShadows(Warp& warp, const Ref* registers, int count, const uint8_t* shadows);
// The operands of this product; to be filled.
struct AsyncOperands;
AsyncOperands& HoldOperands(Warp& warp, const Inst& inst);
void CommitSums(Warp& warp);
// Waits for all but the newest groups_left groups.
void WaitSums(Warp& warp, uint32_t groups_left);

}  // namespace softgpu
