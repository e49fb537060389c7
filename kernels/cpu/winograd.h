// Winograd's minimal filtering F(4x4, 3x3) and F(2x2, 3x3) in two dimensions (Lavin and Gray, "Fast
// algorithms for convolutional neural networks", CVPR 2016): 36 products where the definition has
// 144, and 16 where it has 36.
//
// A tile of 4x4 outputs needs 6x6 inputs. With matrices A (6x4), G (6x3), B (6x6) of the
// interpolation points 0, +-3/4, +-3/2, infinity:   Y = A^T [ (G g G^T) .* (B^T d B) ] A.
// Points that are each other's inverse, more or less, keep the intermediate values small: the usual
// +-1, +-2 loses two more bits. These are exact in binary, and so are all entries of A and B.
// A tile of 2x2 outputs needs 4x4 inputs and the points 0, +-1, infinity: entries of A and B are 0
// and +-1, those of G halves, so that small integers come out exactly.
//
// Summed over input channels, each of the 36 (16) positions is a matrix product of its own, tiles
// by input channels times input channels by output channels. Functions here work on a block of
// tiles so small that its transformed data stay in the caches of one core.
#pragma once

#include <cstdint>

#include "kernels/cpu/conv_3x3.h"
#include "kernels/runtime/bfloat16.h"
#include "kernels/runtime/integers.h"
#include "kernels/runtime/shape.h"

namespace lseg {

// A 3x3 convolution with stride 1 and padding 1 between tensors in a blocked format and f32, or in
// NHWC and bf16. Transformed sources and weights are f32 or, with tiles of 2x2 alone (those of 4x4
// lose three bits more), rounded to bf16; their products are summed in f32.
struct WinogradShape {
  int64_t block;     // of channels: 8 (nChw8c) or 16 (nChw16c, NHWC)
  int64_t tile = 4;  // outputs along a tile's edge: 4 or 2
  int64_t batch, height, width;
  int64_t in, out;  // channels

  int64_t InBlocks() const { return CeilDiv(in, block); }
  int64_t OutBlocks() const { return CeilDiv(out, block); }
  int64_t Positions() const { return (tile + 2) * (tile + 2); }
  int64_t TilesX() const { return CeilDiv(width, tile); }
  int64_t TilesY() const { return CeilDiv(height, tile); }
  int64_t Tiles() const { return batch * TilesY() * TilesX(); }
  int64_t Chunks() const;  // of output channels
};

// WinogradShape::block of maps in a format.
inline int64_t WinogradBlock(Format format) { return format == Format::kNChw8c ? 8 : 16; }

// Elements from one of the positions to the next in transformed tensors, whose layout is
// (position, block of channels, tile, channel of the block). Padded by a cache line: strides that
// are a power of two would put the streams of a transform into the same sets of the L1 cache.
inline int64_t WinogradPlane(const WinogradShape& shape, int64_t blocks, int64_t tiles,
                             int64_t value_bytes) {
  return blocks * tiles * shape.block + 64 / value_bytes;
}

// Output channels are worked on in chunks of this many, so that their products stay in the cache
// until they are transformed.
constexpr int64_t kWinogradChunk = 64;

inline int64_t WinogradShape::Chunks() const { return CeilDiv(out, kWinogradChunk); }

// Of a job's transformed source, and of its products, which are f32.
inline int64_t WinogradSrcPlane(const WinogradShape& shape, int64_t tiles, int64_t value_bytes) {
  return WinogradPlane(shape, shape.InBlocks(), tiles, value_bytes);
}
inline int64_t WinogradProductPlane(const WinogradShape& shape, int64_t tiles) {
  return WinogradPlane(shape, kWinogradChunk / shape.block, tiles, sizeof(float));
}

// What one thread works on: tiles [tile, tile + tiles), chunks [chunk, chunk_end) of outputs, and
// its own memory of WinogradScratchBytes(), aligned to 64 bytes. Values do not depend on the
// division.
struct WinogradJob {
  int64_t tile, tiles, chunk, chunk_end;
  void* scratch;
};

// Output channels that are multiplied together: two vectors of this processor, no longer than a
// block.
int64_t WinogradPanelSize(int64_t block);
// Panels of all outputs, which packed weights consist of.
int64_t WinogradPanels(const WinogradShape& shape);
// Tiles that are multiplied together: a multiple of it wastes nothing.
int64_t WinogradTileRows();

// Whether this processor takes products of bf16 (AVX512-BF16), and whether that is worth while:
// Intel's of 2023 and later (told by AVX512-FP16) do at half the rate of f32, and leave speed to
// AMX, which virtual machines may lack.
bool WinogradHasBf16();
bool WinogradIsFastInBf16();

// Packed weights, and bytes of a thread's scratch, where a transformed value takes so many.
int64_t WinogradPackedCount(const WinogradShape& shape);
int64_t WinogradScratchBytes(const WinogradShape& shape, int64_t tiles, int64_t value_bytes);

// Transforms the weights of one panel. weight is OIHW: (out, in, 3, 3) or, with
// `transposed`, (in, out, 3, 3) whose taps are reversed as well: the weights of a convolution whose
// gradient with respect to its source this one is.
void WinogradPackWeights(const WinogradShape& shape, const float* weight, bool transposed,
                         int64_t panel, float* packed);
void WinogradPackWeights(const WinogradShape& shape, const float* weight, bool transposed,
                         int64_t panel, BFloat16* packed);

// Transformed sources in the type of the packed weights.
void WinogradConvolve(const WinogradShape& shape, const Conv3x3Args<float>& args,
                      const WinogradJob& job);
void WinogradConvolve(const WinogradShape& shape, const Conv3x3Args<BFloat16, float>& args,
                      const WinogradJob& job);
void WinogradConvolve(const WinogradShape& shape, const Conv3x3Args<BFloat16>& args,
                      const WinogradJob& job);

}  // namespace lseg
