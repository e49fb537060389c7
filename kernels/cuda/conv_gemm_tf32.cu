// The implicit GEMM's kernels for tf32: a file of its own, so that the types compile side by side.
#include "kernels/cuda/conv_gemm.cuh"

namespace lseg::cuda {

ConvGemmKernel ConvGemmKernelTf32(int tile, bool stage_end) {
  return stage_end ? KernelOf<Tf32Products, true>(tile) : KernelOf<Tf32Products, false>(tile);
}

}  // namespace lseg::cuda
