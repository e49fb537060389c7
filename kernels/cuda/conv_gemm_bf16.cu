// The implicit GEMM's kernels for bf16: a file of its own, so that the types compile side by side.
#include "kernels/cuda/conv_gemm.cuh"

namespace lseg::cuda {

ConvGemmKernel ConvGemmKernelBf16(int tile, bool stage_end) {
  return stage_end ? KernelOf<Bf16Products, true>(tile) : KernelOf<Bf16Products, false>(tile);
}

}  // namespace lseg::cuda
