// Copies a box of one NCHW tensor to a box of another, writing or adding. Crop, Slice and Concat
// are this op forward; their gradients are this op with source and destination exchanged.
#pragma once

#include <span>

#include "kernels/runtime/context.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct BoxCopyParams {
  Shape src, dst;                                // whole tensors
  Shape box;                                     // extent of what is copied
  Shape src_at{0, 0, 0, 0}, dst_at{0, 0, 0, 0};  // first element in each

  void Validate() const;
};

// dst[dst_at + i] = (or +=) src[src_at + i] for i in box; the rest of dst is not touched.
void BoxCopy(Context& context, const BoxCopyParams& params, const float* src, float* dst,
             GradMode mode);

struct BoxCopyJob {
  BoxCopyParams params;
  const float* src;
  float* dst;
  GradMode mode;
};
// Several at once, on a GPU by one launch for every 16. No box that is written may overlap another
// one that is written or read.
void BoxCopies(Context& context, std::span<const BoxCopyJob> jobs);
// What box copies leave out: sets dst to zero outside the box at dst_at (gradient of a crop).
void ZeroOutside(Context& context, const BoxCopyParams& params, float* dst);

}  // namespace lseg
