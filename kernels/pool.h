// 2-d pooling, maximum or average, with Caffe's output size (rounded up) and padding rules, in any
// dense or blocked format (src and dst have the same).
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct PoolParams {
  enum class Method { kMax, kAverage };
  Shape src;
  Method method = Method::kMax;
  int64_t kernel_h = 2, kernel_w = 2;
  int64_t stride_h = 2, stride_w = 2;
  int64_t pad_h = 0, pad_w = 0;
  bool round_up = true;  // Caffe's ceil mode; round_mode: FLOOR in the prototxt gives false
  Format format = Format::kNCHW;
  DType dtype = DType::kF32;  // of src and dst; f16 on a GPU only

  void Validate() const;
  // ceil((in + 2 pad - kernel) / stride) + 1; a last window that would start behind the source's
  // end is dropped (by Caffe only where there is padding: without it such a window, possible where
  // stride > kernel, would be empty).
  Shape Dst() const;
  // Of a position within a window, see PoolForward: u8 where it has at most 256 elements, else i32.
  DType ArgmaxDType() const;
};

// Maximum: argmax (an ArgmaxDType() a dst element, laid out as dst; may be null in inference)
// receives the position within the window, r * kernel_w + s, of the first maximum in row order;
// padding takes no part, and a NaN counts as larger than any number. Average: the divisor counts
// padding that lies within in + pad, as Caffe; argmax is unused.
void PoolForward(Context& context, const PoolParams& params, const void* src, void* dst,
                 void* argmax);
// d_src by mode, as a gather over the windows that hold a source element (fixed order). Padding
// channels of d_src get what those of d_dst hold: zeros. relu_dst, where not null: src, which came
// out of a ReLU, whose gradient is taken at once: d_src, what was there before included, becomes 0
// wherever src is not above 0.
void PoolBackward(Context& context, const PoolParams& params, const void* d_dst, const void* argmax,
                  void* d_src, GradMode d_src_mode, const void* relu_dst = nullptr);

}  // namespace lseg
