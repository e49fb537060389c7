// The implicit GEMM's kernels for bf16: a file of its own, so that the types compile side by side.
#include "kernels/cuda/conv_gemm.cuh"

namespace lseg::cuda {

ConvGemmKernel ConvGemmKernelBf16(int tile) { return KernelOf<Bf16Products>(tile); }

}  // namespace lseg::cuda
