// Functions that device code calls without defining them: printf, assert, malloc and free.
#pragma once

#include <string>

#include "tests/softgpu/machine/warp.h"

namespace softgpu {

// Arguments and result as the call's .param variables in the caller's local memory.
struct BuiltinCall {
  std::vector<Code::Place> args, results;
};
using Builtin = void (*)(Warp& warp, const Inst& inst, const BuiltinCall& call);
// nullptr: no such function here.
Builtin FindBuiltin(const std::string& name);

}  // namespace softgpu
