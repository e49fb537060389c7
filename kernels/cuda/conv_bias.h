// Bias and ReLU behind a convolution, and the gradient of the bias, as ops of their own: for
// engines of libraries, which add a bias in the narrow type of the map only and have no gradient of
// it for bf16. No CUDA header is needed to include this.
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"

namespace lseg::cuda {

// map = max(map + bias, 0 where `relu`), in place; bias may be null. NCHW or NHWC.
void AddBiasRelu(const Context& context, const Shape& shape, Format format, DType dtype, void* map,
                 const float* bias, bool relu);

// d_bias = (or +=) the sums of d_map over images and pixels, in an order that the shape and the GPU
// settle.
class BiasGradient {
 public:
  BiasGradient(const Context& context, const Shape& shape, Format format, DType dtype);
  int64_t WorkspaceBytes() const { return parts_ * shape_.c * static_cast<int64_t>(sizeof(float)); }
  void Run(const Context& context, const void* d_map, float* d_bias, bool add,
           void* workspace) const;

 private:
  Shape shape_;
  Format format_;
  DType dtype_;
  int64_t parts_;
};

}  // namespace lseg::cuda
