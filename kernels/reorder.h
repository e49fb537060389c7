// Changes the memory format or the element type of a tensor.
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/shape.h"

namespace lseg {

// dst = (or +=) src, from one format to another, f32. Padding channels of dst are written as zero.
void Reorder(Context& context, const Shape& shape, Format src_format, const float* src,
             Format dst_format, float* dst, GradMode mode);

// f32 to u8, for labels that arrive as floats: a value that is no integer in 0..255 is an Error.
void CastToU8(Context& context, int64_t count, const float* src, uint8_t* dst);
void CastToF32(Context& context, int64_t count, const uint8_t* src, float* dst);

}  // namespace lseg
