// What the engines for 3x3 convolutions with stride 1 and padding 1 share: which cases those are,
// and a run's pointers as their inner functions take them, where backward data is a forward
// convolution with other weights.
#pragma once

#include "kernels/conv.h"

namespace lseg {

// One group, dense, stride 1, padding 1: outputs as large as inputs.
bool IsConv3x3(const ConvParams& params);

// The rows of dst that a forward run computes; an Error where they are not on the engine's grid.
RowRange ConvRowsOnGrid(const ConvParams& params, int64_t grid, const ConvArgs& args);

// Stripes among which the image's parts are divided for a gradient of weights of so many bytes:
// each is summed by one thread, in its own caches, and the stripes' sums are added in their order.
// 1 where the gradient is so large that the sums take more memory than is worth while: all threads
// then share a part and divide its channels. Does not depend on the number of threads.
int64_t GradientStripes(int64_t gradient_bytes, int64_t parts);

// Writes or adds to `to` the stripes' sums, `pitch` floats from one stripe's to the next's, in
// their order. `to` may be the first stripe's.
void AddStripes(const float* sums, int64_t stripes, int64_t pitch, int64_t count, bool add,
                float* to);

// Element, of maps, and Value, of packed weights: float or BFloat16.
template <class Element, class Value = Element>
struct Conv3x3Args {
  const Element* src;
  const Value* packed;  // weights, as the engine packs them
  const float* bias;    // may be null
  bool relu, add;       // add: dst += instead of dst =
  Element* dst;
  const Element* mask;  // laid out as dst, may be null: where it is not above 0, dst becomes 0
  // Rows that lie in memory: of src, and of dst or pooled.
  RowRange src_held, dst_held;
  // Where dst is null, the end of a stage (kernels/conv.h): pooled may be null, or there are no
  // scores. Output channels fill their blocks then, and add is false. A chunk's channels make one
  // partial sum of the scores.
  Element* pooled;
  int64_t score_channels;
  const float* score_weight;
  float* score_partials;
};

template <class Element, class Value = Element>
Conv3x3Args<Element, Value> Conv3x3ArgsOf(const ConvParams& params, ConvDirection direction,
                                          const ConvArgs& args);

}  // namespace lseg
