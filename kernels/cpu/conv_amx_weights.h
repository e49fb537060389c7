// The gradient of a 3x3 convolution's weights (stride 1, padding 1, bf16, NHWC) on AMX's tiles: for
// each of the nine taps a matrix product, output channels by pixels times pixels by input channels.
//
// Tiles want 32 pixels of a channel side by side, here the destination's, and of the other operand,
// the source, pairs of pixels. Both tensors are laid out so for a band of rows, shared by all
// threads; then every job multiplies 32 channels of each. Rows follow each other with one pixel of
// zeros between them, in both alike: so a tap is an offset of the source, and a band one row of
// pixels, whatever the image's width. The source is there twice, in pairs that begin with an even
// pixel and with an odd one: whatever a tap's offset, its tiles are whole cache lines.
#pragma once

#include "kernels/cpu/conv_amx.h"

namespace lseg {

// Pixels that are laid out and multiplied at a time.
constexpr int64_t kAmxStep = 32;

// Rows [y, y + rows) of image n's destination.
struct AmxBand {
  int64_t n, y, rows;
};

// Steps over a band's destination, and over its source, which has a row more above and below.
int64_t AmxDstSteps(const AmxShape& shape, int64_t rows);
int64_t AmxSrcSteps(const AmxShape& shape, int64_t rows);
// Elements of a band of the source: (first pixel even or odd, 32 channels, half of them, step, pair
// of pixels, channel, pixel of the pair), of the destination: (channel, step, pixel).
int64_t AmxSrcCount(const AmxShape& shape, int64_t rows);
int64_t AmxDstCount(const AmxShape& shape, int64_t rows);

// Lay out one step, all channels. Channels of each 32 change places, in both alike.
void AmxLayOutSrc(const AmxShape& shape, const AmxBand& band, const BFloat16* src, int64_t step,
                  BFloat16* laid_out);
void AmxLayOutDDst(const AmxShape& shape, const AmxBand& band, const BFloat16* d_dst, int64_t step,
                   BFloat16* laid_out);

// One row of taps of input channels [32 in, 32 in + 32) and as many outputs.
struct AmxWeightsJob {
  int64_t rows = 0;  // of the band
  const BFloat16 *src = nullptr, *d_dst = nullptr;
  int64_t in = 0, out = 0, tap_row = 0;
  bool first = true;      // of all bands: sums are written, else added to
  float* sums = nullptr;  // kAmxSums for these channels and this row of taps
};
constexpr int64_t kAmxSums = 3 * kAmxPanel * kAmxPanel;
void AmxMultiplyTaps(const AmxShape& shape, const AmxWeightsJob& job);
// The sums of all rows of taps for these channels, one behind the other, to d_weight (OIHW),
// written or added.
void AmxStoreTaps(const AmxShape& shape, int64_t in, int64_t out, const float* sums, bool add,
                  float* d_weight);

// Sums of d_dst over a band's pixels for outputs [32 out, 32 out + 32), written or added to `sums`.
void AmxSumDDst(const AmxShape& shape, int64_t rows, const BFloat16* laid_out, int64_t out,
                bool first, float* sums);

}  // namespace lseg
