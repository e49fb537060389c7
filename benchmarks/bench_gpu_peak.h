// The kernels of bench_gpu itself. No CUDA header is needed to include this.
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"

namespace lseg {

// Fills memory of the device with TensorSpec's random numbers.
void FillRandom(Context& context, void* memory, int64_t count, DType dtype, float low, float high,
                uint32_t seed);

// Queues matrix products of random numbers in registers, on all multiprocessors: the most that
// mma.sync can do. kBF16 or kF32 (tf32). `scratch`: 4 bytes. Returns the operations queued.
double QueueMatrixProducts(Context& context, DType dtype, int rounds, float* scratch);

}  // namespace lseg
