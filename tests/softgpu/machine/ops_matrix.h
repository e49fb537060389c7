// What the files of the matrix instructions share.
#pragma once

#include "tests/softgpu/machine/decode.h"

namespace softgpu {

// For .sync.aligned instructions: all lanes of the warp must be here. False: they wait.
bool WholeWarp(Warp& w, const Inst& i);

// ldmatrix, stmatrix, movmatrix; called by AddMatrixOps.
void AddMatrixMemoryOps(BuilderTable& table);

}  // namespace softgpu
