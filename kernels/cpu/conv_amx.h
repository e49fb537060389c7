// 3x3 convolutions with stride 1 and padding 1 in bf16 and NHWC as an implicit GEMM on AMX's tiles:
// 16 pixels of a row by 32 channels are one operand as they lie in memory, once for each of the
// nine taps, and 32 channels by 16 outputs the other. Sums are taken in f32, in an order that
// depends on the number of channels alone.
//
// The map is divided into blocks of two rows by up to 16 columns, outputs into panels of 32: a
// block's sums for a panel fill four tiles, and each tile that is loaded is multiplied twice. A job
// keeps the source of some blocks in the L2 cache, and goes through the panels.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/cpu/conv_3x3.h"
#include "kernels/runtime/bfloat16.h"
#include "kernels/runtime/integers.h"
#include "kernels/runtime/shape.h"

namespace lseg {

constexpr int64_t kAmxPanel = 32;  // outputs, and channels of the source that are summed at a time
// Panels whose scores are summed at the end of a stage, as one partial.
constexpr int64_t kAmxChunk = 4;

struct AmxShape {
  int64_t batch, height, width;
  int64_t in, out;      // channels: multiples of kAmxPanel
  bool pooled = false;  // blocks begin at even columns

  int64_t Slices() const { return in / kAmxPanel; }
  int64_t Panels() const { return out / kAmxPanel; }
  int64_t Chunks() const { return CeilDiv(Panels(), kAmxChunk); }
  int64_t BlocksX() const { return (width + 15) / 16; }
  // Of a block: as many as divide the width most evenly.
  int64_t Columns() const {
    const int64_t columns = CeilDiv(width, BlocksX());
    return pooled ? columns + columns % 2 : columns;
  }
};

// Whether this processor has AMX for bf16 and the system lets this process use it. Asks the system
// at the first call.
bool HasAmxBf16();

// Elements of packed weights, and bytes of a thread's scratch for a job of so many blocks.
int64_t AmxPackedCount(const AmxShape& shape);
int64_t AmxScratchBytes(const AmxShape& shape, int64_t blocks);
// Bytes of a block's source, its neighbours included.
int64_t AmxSrcBytes(const AmxShape& shape);

// Rounds the weights of one panel. weight is OIHW: (out, in, 3, 3) or, with `transposed`, (in, out,
// 3, 3) whose taps are reversed as well: the weights of a convolution whose gradient with respect
// to its source this one is.
void AmxPackWeights(const AmxShape& shape, const float* weight, bool transposed, int64_t panel,
                    BFloat16* packed);

// What one thread works on: blocks [block, block + blocks), counted from the image's first in rows
// of BlocksX(), of image n; chunks [chunk, chunk_end); its own memory of AmxScratchBytes(shape,
// blocks), aligned to 64 bytes.
struct AmxJob {
  int64_t n, block, blocks, chunk, chunk_end;
  void* scratch;
};
// Scores are summed of outputs as they are rounded to bf16, times weights rounded to 16 bits of
// mantissa, as two of bf16.
void AmxConvolve(const AmxShape& shape, const Conv3x3Args<BFloat16>& args, const AmxJob& job);

}  // namespace lseg
