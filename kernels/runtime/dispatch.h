// How an op reaches its device. The entry point of an op checks its parameters, hands over to the
// GPU's launcher where the context says so, and else goes on with the CPU's code below it.
#pragma once

#include "kernels/runtime/context.h"

// LSEG_ON_CUDA(context, BoxCopy(context, params, src, dst, mode));
// Runs cuda::BoxCopy and returns, where the context is of a GPU. Without CUDA in the build there is
// no such context.
#if LSEG_WITH_CUDA
#include "kernels/cuda/ops.h"
#define LSEG_ON_CUDA(context, call)                                 \
  do {                                                              \
    if ((context).device() == Device::kCuda) return cuda::call;     \
  } while (false)
#else
#define LSEG_ON_CUDA(context, call) static_cast<void>(context)
#endif
