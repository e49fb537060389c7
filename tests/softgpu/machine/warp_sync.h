// Lanes that must act together: warp-wide operations and barriers.
#pragma once

#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// True when all living lanes of `members` (of those that exist) run this instruction now: go on.
// False: the lanes that are here were put to wait, and the instruction runs again later; return at
// once. Lanes that never come are a finding of their own. At `any_place` (bar.warp.sync) lanes may
// wait at different instructions; when the last ones come, the others go on behind theirs.
bool Converge(Warp& warp, const Inst& inst, uint32_t members, bool any_place = false);

// The calling lanes go on, all others of the block that wait at this barrier too, once complete.
// Threads of warps that wait: the group is suspended (warp.stop).
enum class BarrierKind : uint8_t { kSync, kArrive, kReduce };
// count: threads expected, 0: all of the block. Aligned barriers are for whole warps.
void ArriveAtBarrier(Warp& warp, const Inst& inst, uint32_t id, uint32_t count, BarrierKind kind,
                     bool aligned, uint32_t predicate);

// Ends the lanes of warp.exec.
void ExitLanes(Warp& warp, const Inst& inst);

// A branch of the lanes `taken` of the running group to an instruction; the others go on.
void Branch(Warp& warp, uint32_t taken, uint32_t target);

// Lanes of the running group become a group of their own at pc; the running one goes on, even if no
// lane is left in it (then the caller sets warp.stop or enters a frame).
void Part(Warp& warp, uint32_t lanes, uint32_t pc);

// Frames. Enter: the lanes of `lanes` (all of the group or a part of it) run the callee; Leave: the
// running group goes back to its caller. Arguments and results are copied by the caller of these.
Frame* PushFrame(Warp& warp, const Code& code, Frame* caller, uint32_t return_pc, uint32_t lanes);
void Enter(Warp& warp, Frame* frame, uint32_t lanes);
void Leave(Warp& warp);

}  // namespace softgpu
