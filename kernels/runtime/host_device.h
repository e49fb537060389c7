// LSEG_HOST_DEVICE marks small functions that both the CPU's code and the GPU's kernels call, so
// that a formula stands once.
#pragma once

#if defined(__CUDACC__)
#define LSEG_HOST_DEVICE __host__ __device__
#else
#define LSEG_HOST_DEVICE
#endif
