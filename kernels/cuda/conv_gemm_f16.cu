// The implicit GEMM's kernels for f16: a file of its own, so that the types compile side by side.
#include "kernels/cuda/conv_gemm.cuh"

namespace lseg::cuda {

ConvGemmKernel ConvGemmKernelF16(int tile, bool stage_end) {
  return stage_end ? KernelOf<F16Products, true>(tile) : KernelOf<F16Products, false>(tile);
}

}  // namespace lseg::cuda
