// Changes the memory format or the element type of a tensor.
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/shape.h"

namespace lseg {

// dst = (or +=) src, from one format and type to another, rounded to nearest even. Padding channels
// of dst are written as zero. f16 on a GPU only.
void Reorder(Context& context, const Shape& shape, Format src_format, const void* src,
             Format dst_format, void* dst, GradMode mode, DType src_dtype = DType::kF32,
             DType dst_dtype = DType::kF32);

// f32 to u8, for labels that arrive as floats: a value that is no integer in 0..255 is an Error (on
// a GPU DeviceFault::kBadLabel).
void CastToU8(Context& context, int64_t count, const float* src, uint8_t* dst);
void CastToF32(Context& context, int64_t count, const uint8_t* src, float* dst);

}  // namespace lseg
