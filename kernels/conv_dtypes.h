// Which element types a device's convolutions compute in, and how activations of them lie in memory
// from one convolution to the next.
#pragma once

#include <string>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"

namespace lseg {

// What is missing for convolutions that take and give `dtype`, to be said after "needs"; empty
// where nothing is. On the CPU f32 and bf16 need nothing: where a processor has no instructions for
// products of bf16, or slow ones, those are taken in f32, and layers without code for maps in bf16
// have f32.
std::string MissingForConvs(const Context& context, DType dtype);

// The format for which the convolutions have their fastest code: in f32 the context's blocked one;
// in bf16 NHWC, which AMX takes alone, and other code as well as blocks.
Format FormatOfConvs(const Context& context, DType dtype);

}  // namespace lseg
