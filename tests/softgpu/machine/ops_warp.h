// What warp-wide instructions of other files share with ops_warp.cc.
#pragma once

#include "tests/softgpu/machine/decode.h"

namespace softgpu {

// bar.warp.sync mask; its first word is that of block barriers.
void BuildBarWarpSync(const ptx::Instruction& instruction, Decoder& decoder, Inst& inst);

// Called where a .sync instruction of the lanes of w.exec stands. mask_slot holds each lane's
// member mask. False: the lanes wait, the instruction returns and is run again. Lanes may stand in
// several disjoint masks (tiles of a warp). Reports lanes that their own mask leaves out.
// any_place: see Converge.
bool Members(Warp& w, const Inst& i, Ref mask_slot, bool any_place = false);

}  // namespace softgpu
