// A weak definition of each of CUDA's functions: the linker takes it where no other file has one.
// Without CUDA's headers, since these would know the true parameters, which nothing here reads.
#include "tests/softgpu/runtime/not_covered.h"

#include "tests/softgpu/runtime/symbols.h"

#define SOFTGPU_WEAK(name) \
  extern "C" __attribute__((weak)) int name() { return softgpu::NotCovered(#name); }
SOFTGPU_CUDART_SYMBOLS(SOFTGPU_WEAK)
