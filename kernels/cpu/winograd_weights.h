// The gradient of a 3x3 convolution's weights by the adjoint of F(4x4, 3x3) in f32, of F(2x2, 3x3)
// in bf16, see winograd.h:
//   d_g = G^T [ sum over tiles of (B^T d B) .* (A d_Y A^T) ] G
// for 4x4 (2x2) outputs' gradients d_Y and 6x6 (4x4) inputs d of a tile. For each of the 36 (16)
// positions the sum is a matrix product, input channels by tiles times tiles by output channels.
//
// Both tensors are transformed for a block of tiles, shared by all threads; then every job
// multiplies for a few channels of each and turns its 36 sums into taps at once.
#pragma once

#include "kernels/cpu/winograd.h"

namespace lseg {

// Tiles that lie together in transformed tensors: (position, block of channels, group of tiles,
// channel of the block, tile of the group). The last group is filled up with zeros.
template <class Value>
constexpr int64_t kTilesTogether = sizeof(float) / sizeof(Value);

// Transform one block of channels of tiles [tile, tile + tiles). `out` is where the first of them
// belongs in the first plane, planes are `plane` Values apart (WinogradPlane(), of whole groups).
template <class Value>
struct WinogradRun {
  int64_t block, tile, tiles;
  Value* out;
  int64_t plane;
};
void WinogradTransformSrc(const WinogradShape& shape, const float* src,
                          const WinogradRun<float>& run);
void WinogradTransformSrc(const WinogradShape& shape, const BFloat16* src,
                          const WinogradRun<float>& run);
void WinogradTransformSrc(const WinogradShape& shape, const BFloat16* src,
                          const WinogradRun<BFloat16>& run);
// Writes the sums over the run of d_dst of each channel of the block to `sums` as well.
void WinogradTransformDDst(const WinogradShape& shape, const float* d_dst,
                           const WinogradRun<float>& run, float* sums);
void WinogradTransformDDst(const WinogradShape& shape, const BFloat16* d_dst,
                           const WinogradRun<float>& run, float* sums);
void WinogradTransformDDst(const WinogradShape& shape, const BFloat16* d_dst,
                           const WinogradRun<BFloat16>& run, float* sums);

// Multiplies blocks [in_block, in_end) of the source by channels [out, out_end) of the destination,
// counted from a multiple of WinogradPanelSize(), and writes or adds the taps to d_weight (OIHW).
template <class Value>
struct WinogradWeightsJob {
  int64_t tiles;  // of the transformed tensors
  const Value *src, *d_dst;
  int64_t in_block, in_end, out, out_end;
  bool add;
  float* scratch;  // WinogradWeightsScratchCount() floats
};
int64_t WinogradWeightsScratchCount(const WinogradShape& shape, int64_t in_blocks, int64_t outs);
void WinogradWeights(const WinogradShape& shape, const WinogradWeightsJob<float>& job,
                     float* d_weight);
void WinogradWeights(const WinogradShape& shape, const WinogradWeightsJob<BFloat16>& job,
                     float* d_weight);

}  // namespace lseg
