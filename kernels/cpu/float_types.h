// The element types of the CPU's ops: one loop, a template, for f32 and bf16.
#pragma once

#include "kernels/runtime/bfloat16.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/dtype.h"

namespace lseg {

// Calls work(T()) with the C++ type of `dtype`. An Error that names the op for other types.
template <class Work>
void WithFloatType(DType dtype, const char* op, const Work& work) {
  LSEG_CHECK(dtype == DType::kF32 || dtype == DType::kBF16,
             op << " of " << ToString(dtype) << " on the CPU: f32 and bf16 only");
  if (dtype == DType::kF32) {
    work(float());
  } else {
    work(BFloat16());
  }
}

}  // namespace lseg
