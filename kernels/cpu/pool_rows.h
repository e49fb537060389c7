// The inner loops of pooling, a row at a time. One kernel for all formats: a pixel is `lanes`
// channels next to one another (1 for NCHW, all for NHWC), and a plane is the pixels of such a
// group.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

#include "kernels/runtime/bfloat16.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/integers.h"

namespace lseg {

struct PoolSpan {
  int64_t begin, end;
};

// Along one axis: what is needed to tell which source elements a window holds.
struct PoolAxis {
  int64_t in, out, kernel, stride, pad;

  // The window of an output, cut to the source.
  PoolSpan Window(int64_t at) const {
    const int64_t begin = at * stride - pad;
    return {std::max<int64_t>(begin, 0), std::min(begin + kernel, in)};
  }
  // What the average divides by: the window cut to the padded source.
  int64_t Divisor(int64_t at) const {
    const int64_t begin = at * stride - pad;
    return std::min(begin + kernel, in + pad) - begin;
  }
  // The outputs whose windows hold a source element.
  PoolSpan Outputs(int64_t at) const {
    const int64_t first = at + pad - kernel + 1;
    return {first <= 0 ? 0 : CeilDiv(first, stride), std::min((at + pad) / stride + 1, out)};
  }
  int64_t OutputSize(bool round_up) const {
    const int64_t room = in + 2 * pad - kernel;
    const double steps = static_cast<double>(room) / static_cast<double>(stride);
    const int64_t size = static_cast<int64_t>(round_up ? std::ceil(steps) : std::floor(steps)) + 1;
    return (size - 1) * stride >= in + pad ? size - 1 : size;
  }
};

struct PoolGeometry {
  PoolAxis rows, columns;
  int64_t lanes;
  DType argmax = DType::kU8;  // or i32
};

// Row `row` of dst from a plane of src; argmax, of the plane, may be null. Sums and comparisons are
// f32's.
void PoolForwardRow(const PoolGeometry& g, bool max, int64_t row, const float* src, float* dst,
                    void* argmax);
void PoolForwardRow(const PoolGeometry& g, bool max, int64_t row, const BFloat16* src,
                    BFloat16* dst, void* argmax);

// Row `row` of d_src from a plane of d_dst; argmax is read for the maximum only. relu_dst may be
// null. An element is rounded to its type once.
void PoolBackwardRow(const PoolGeometry& g, bool max, int64_t row, const float* d_dst,
                     const void* argmax, float* d_src, bool add, const float* relu_dst);
void PoolBackwardRow(const PoolGeometry& g, bool max, int64_t row, const BFloat16* d_dst,
                     const void* argmax, BFloat16* d_src, bool add, const BFloat16* relu_dst);

}  // namespace lseg
