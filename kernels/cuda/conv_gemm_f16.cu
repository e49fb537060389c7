// The implicit GEMM's kernels for f16: a file of its own, so that the types compile side by side.
#include "kernels/cuda/conv_gemm.cuh"

namespace lseg::cuda {

ConvGemmKernel ConvGemmKernelF16(int tile) { return KernelOf<F16Products>(tile); }

}  // namespace lseg::cuda
