// What the implicit GEMMs share: which part of the output a block computes, and how what it needs
// gets from global to shared memory.
#pragma once

#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/ptx.cuh"

namespace lseg::cuda {

// What a block computes.
struct ConvGemmPlace {
  int image, y, x;  // of the patch's first pixel, in `out`
  int output_tile;
};

// Blocks that share a patch are neighbours: they find it in the L2 cache.
template <class Tile>
__device__ ConvGemmPlace PlaceOfBlock(const ConvGemmArgs& args) {
  int block = blockIdx.x;
  ConvGemmPlace place;
  place.output_tile = block % args.output_tiles;
  block /= args.output_tiles;
  place.x = block % args.patches_x * kPatchWidth;
  block /= args.patches_x;
  place.y = block % args.patches_y * Tile::kPatchHeight;
  place.image = block / args.patches_y;
  return place;
}

// Copies halos: a patch and the pixels around it. What is outside the image, and channels past the
// last, come as zeros. A table in shared memory says for each pixel of the halo where it lies.
template <class Tile>
class HaloCopy {
 public:
  __device__ HaloCopy(const ConvGemmArgs& args, const ConvGemmPlace& place, int element_bytes,
                      int2* table)
      : table_(table), pixel_bytes_(args.in_channels * element_bytes) {
    channel_byte_ = threadIdx.x % 8 * 16;
    from_ = static_cast<const char*>(args.in) +
            int64_t{place.image} * args.in_height * args.in_width * pixel_bytes_ + channel_byte_;
    for (int pixel = threadIdx.x; pixel < Tile::kTableEntries; pixel += Tile::kThreads) {
      const int row = pixel / Tile::kHaloWidth, column = pixel % Tile::kHaloWidth;
      const int y = place.y - args.pad_y + row, x = place.x - args.pad_x + column;
      const bool inside = static_cast<unsigned>(y) < static_cast<unsigned>(args.in_height) &&
                          static_cast<unsigned>(x) < static_cast<unsigned>(args.in_width);
      table[pixel] = make_int2(
          inside ? y * args.in_width + x : -1,
          pixel < Tile::kHaloPixels ? pixel * kRowBytes + SwizzledByte(column, 0) : kNoPixel);
    }
  }

  // Copies kRowsAPass pixels of the chunk; the first kHaloPasses make a halo, others do nothing.
  __device__ void Pass(int pass, uint32_t to, bool wanted) const {
    const int2 entry = table_[pass * Tile::kRowsAPass + threadIdx.x / 8];
    const bool valid = entry.x >= 0 && channel_byte_ < pixel_bytes_;
    CpAsync16OrZeros(to + (entry.y ^ (threadIdx.x % 8 * 16)),
                     from_ + int64_t{valid ? entry.x : 0} * pixel_bytes_, valid,
                     wanted && entry.y != kNoPixel);
  }

  __device__ void NextChunk() {
    from_ += kRowBytes;
    channel_byte_ += kRowBytes;
  }

 private:
  static constexpr int kNoPixel = -1;

  const int2* table_;
  const char* from_;
  int pixel_bytes_, channel_byte_;
};

// Copies a tap's weights of the block's outputs, which lie in a row, swizzled when they were
// packed.
template <class Tile>
class WeightCopy {
 public:
  __device__ WeightCopy(const ConvGemmArgs& args, const ConvGemmPlace& place, uint32_t ring)
      : from_(static_cast<const char*>(args.weight) +
              int64_t{place.output_tile} * Tile::kWeightBytes + threadIdx.x * 16),
        output_tiles_(args.output_tiles),
        begin_(ring + threadIdx.x * 16),
        to_(begin_) {}

  __device__ void Pass(int pass, bool wanted) const {
    CpAsync16(to_ + pass * Tile::kThreads * 16, from_ + pass * Tile::kThreads * 16, wanted);
  }

  __device__ void NextTap() {
    from_ += int64_t{output_tiles_} * Tile::kWeightBytes;
    to_ = to_ == begin_ + (Tile::kStages - 1) * Tile::kWeightBytes ? begin_
                                                                   : to_ + Tile::kWeightBytes;
  }

 private:
  const char* from_;
  int output_tiles_;
  uint32_t begin_, to_;
};

// The first chunk's halo and the weights of the first kStages - 1 taps, each tap a group.
template <class Tile>
__device__ void CopyFirst(HaloCopy<Tile>& halo_copy, WeightCopy<Tile>& weight_copy, uint32_t halo) {
  for (int pass = 0; pass < Tile::kHaloPasses; ++pass) halo_copy.Pass(pass, halo, true);
#pragma unroll
  for (int stage = 0; stage < Tile::kStages - 1; ++stage) {
    for (int pass = 0; pass < Tile::kWeightPasses; ++pass) weight_copy.Pass(pass, true);
    weight_copy.NextTap();
    CommitGroup();
  }
}

// During a tap, quarter by quarter: a part of the next chunk's halo, where there is one.
template <class Tile>
__device__ void CopyNextHalo(const ConvGemmArgs& args, int quarter, int tap, int chunk,
                             const HaloCopy<Tile>& halo_copy, uint32_t next_halo) {
  const bool halo = chunk + 1 < args.chunks && tap < Tile::kHaloTaps;
  if (quarter < Tile::kHaloPassesATap) {
    halo_copy.Pass(tap * Tile::kHaloPassesATap + quarter, next_halo, halo);
  }
}

// And the weights of the tap kStages - 1 later.
template <class Tile>
__device__ void CopyNext(const ConvGemmArgs& args, int quarter, int tap, int chunk,
                         const HaloCopy<Tile>& halo_copy, const WeightCopy<Tile>& weight_copy,
                         uint32_t next_halo) {
  const bool weights = tap + Tile::kStages - 1 < (args.chunks - chunk) * kConvTaps;
  constexpr int kPasses = Tile::kWeightPasses / 4;
#pragma unroll
  for (int pass = 0; pass < kPasses; ++pass) {
    weight_copy.Pass(quarter * kPasses + pass, weights);
  }
  CopyNextHalo(args, quarter, tap, chunk, halo_copy, next_halo);
}

}  // namespace lseg::cuda
