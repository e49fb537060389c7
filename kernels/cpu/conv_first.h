// The inner loops of the "first_layer" engine: one row of 3x3 outputs from the few planes of an
// image, and what such a row gives to the weights' gradient.
#pragma once

#include <cstdint>

#include "kernels/runtime/bfloat16.h"

namespace lseg {

struct FirstLayerShape {
  int64_t channels, width;  // of the source
  int64_t out, block;  // output channels, a multiple of the block of their format, which is of 8
  int64_t dst_block;   // elements from one block of output channels to the next
};

// Floats of a source line in memory: a zero, the row, and zeros to where the last vectors read.
int64_t FirstLayerLine(const FirstLayerShape& shape);

int64_t FirstLayerPackedCount(const FirstLayerShape& shape);
// weight: (out, channels, 3, 3).
void FirstLayerPack(const FirstLayerShape& shape, const float* weight, float* packed);

// lines: (channels, 3) lines, the rows above, at and below the output's (zeros outside the image).
// bias may be null. dst: the row in the first block of channels. stream: written past the caches,
// which saves reading what is overwritten, where that is possible (whole vectors, aligned).
void FirstLayerRow(const FirstLayerShape& shape, const float* lines, const float* packed,
                   const float* bias, bool relu, bool stream, float* dst);
void FirstLayerRow(const FirstLayerShape& shape, const float* lines, const float* packed,
                   const float* bias, bool relu, bool stream, BFloat16* dst);

// Adds to sums what a row of d_dst gives: (channels * 9 + 1, out), the gradients of the taps and,
// last, of the bias.
void FirstLayerAddGradients(const FirstLayerShape& shape, const float* lines, const float* d_dst,
                            float* sums);
void FirstLayerAddGradients(const FirstLayerShape& shape, const float* lines, const BFloat16* d_dst,
                            float* sums);

}  // namespace lseg
