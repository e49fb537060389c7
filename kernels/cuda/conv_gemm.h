// 3x3 convolutions of stride 1 as implicit GEMMs, forward and backward data, in NHWC. Channels must
// be multiples of 8, in one group; sizes, batch and padding may be any.
//
// "implicit_gemm_*": on the tensor cores, sums in f32. bf16, f16; f32 where tf32 is allowed:
// weights are then rounded to tf32 when they are packed, activations are cut off to it.
// "wgmma_gemm_*": the same by Hopper's wgmma, on compute capability 9.0; unproven.
// "simt_gemm_*": f32 as it is.
//
// Each engine is a tile, its name says how many pixels and output channels a block computes: which
// is fastest depends on image and GPU.
#pragma once

#include <vector>

#include "kernels/conv.h"

namespace lseg::cuda {

std::vector<ConvEngine> ConvGemmEngines();

}  // namespace lseg::cuda
