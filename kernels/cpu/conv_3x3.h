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

// Element: float or BFloat16.
template <class Element>
struct Conv3x3Args {
  const Element* src;
  const Element* packed;  // weights, as the engine packs them
  const float* bias;      // may be null
  bool relu, add;         // add: dst += instead of dst =
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

template <class Element>
Conv3x3Args<Element> Conv3x3ArgsOf(const ConvParams& params, ConvDirection direction,
                                   const ConvArgs& args);

}  // namespace lseg
