// Weights as the implicit GEMM takes them: see ConvGemmArgs::weight.
#pragma once

#include "kernels/conv.h"

namespace lseg::cuda {

struct ConvGemmPacking {
  int in_channels, out_channels, chunks, output_tiles, tile_outputs;
  bool turned;  // weight is [in][out][tap]; taps in reverse
  bool simt;
  DType dtype;  // without tensor cores f32

  int Outputs() const { return output_tiles * tile_outputs; }
};

// By one launch for every 32 that have a ConvGemmPacking of one dtype; the others one by one.
void PackConvWeights(Context& context, std::span<const ConvPack> packs);

}  // namespace lseg::cuda
