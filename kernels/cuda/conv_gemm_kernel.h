// What the implicit GEMM's kernels and their launcher agree on: the arguments, the tiles, and which
// kernel computes a tile of an element type. For .cu files.
#pragma once

#include <cstdint>

#include "kernels/runtime/dtype.h"

namespace lseg::cuda {

// A 3x3 convolution with stride 1: `in` is correlated with `weight` to `out`, all in NHWC. Forward
// and, with weights turned by half a turn and transposed, backward data.
struct ConvGemmArgs {
  int images, in_height, in_width, in_channels;
  int out_height, out_width, out_channels;
  int pad_y, pad_x;  // in row = out row - pad_y + tap; may be negative
  int chunks;  // of in_channels: 128 bytes of a pixel each, the last one possibly partly filled
  int patches_y, patches_x, output_tiles;
  const void* in;
  // Tensor cores: [chunk][tap][output_tiles * kOutputs][128 bytes, see SwizzledByte].
  // Without: [chunk][tap][output_tile][32 input channels][kOutputs].
  const void* weight;
  const float* bias;  // may be null
  void* out;
  bool relu, add;
  const void* mask;  // laid out as out, may be null: where it is not above 0, out becomes 0
  // The end of a stage, in place of `out`; see ConvParams.
  void* pooled;               // may be null
  const float* score_weight;  // [score_channels][out_channels]
  float* score_partials;      // [output_tiles * kWarpsN][images][score_channels][height][width]
  int score_channels;
};

constexpr int kConvTaps = 9;
constexpr int kPatchWidth = 16;
constexpr int kRowBytes = 128;  // of a pixel, or of an output's weights, in shared memory

// In a row of 128 bytes the 16-byte segment s stands at place s ^ (row % 8): then ldmatrix, which
// reads one segment of 8 rows in succession, and copies, which write all segments of a row, touch
// every bank once.
__host__ __device__ constexpr int SwizzledByte(int row, int byte) {
  return ((byte / 16 ^ (row & 7)) << 4) | (byte & 15);
}

// A block computes kPatchHeight x 16 pixels of one image for kOutputs channels, by kWarpsM x
// kWarpsN warps of which each takes some rows of pixels and some channels.
template <int kPatchHeightOf, int kOutputsOf, int kWarpsMOf, int kWarpsNOf, int kBlocksOf>
struct ConvGemmTile {
  static constexpr int kPatchHeight = kPatchHeightOf, kOutputs = kOutputsOf;
  static constexpr int kWarpsM = kWarpsMOf, kWarpsN = kWarpsNOf;
  static constexpr int kThreads = 32 * kWarpsM * kWarpsN;
  static constexpr int kBlocks = kBlocksOf;  // a multiprocessor; bounds the registers
  // Fragments of mma a warp holds: 16 pixels of a row, and 8 channels.
  static constexpr int kFragmentsM = kPatchHeight / kWarpsM;
  static constexpr int kFragmentsN = kOutputs / kWarpsN / 8;
  static constexpr int kStages = 3;  // taps whose weights are in shared memory or on their way

  static constexpr int kHaloWidth = kPatchWidth + 2;
  static constexpr int kHaloPixels = (kPatchHeight + 2) * kHaloWidth;
  static constexpr int kHaloBytes = kHaloPixels * kRowBytes;
  static constexpr int kWeightBytes = kOutputs * kRowBytes;

  // The next chunk's halo is read during those taps after whose copies its first use waits.
  static constexpr int kHaloTaps = kConvTaps + 2 - kStages;
  static constexpr int kRowsAPass = kThreads / 8;  // a thread copies 16 bytes
  static constexpr int kHaloPasses = (kHaloPixels + kRowsAPass - 1) / kRowsAPass;
  static constexpr int kHaloPassesATap = (kHaloPasses + kHaloTaps - 1) / kHaloTaps;
  static constexpr int kTableEntries = kConvTaps * kHaloPassesATap * kRowsAPass;
  static constexpr int kTableBytes = kTableEntries * 8;
  static constexpr int kWeightPasses = kOutputs / kRowsAPass;

  static_assert(kPatchHeight % kWarpsM == 0 && kOutputs % (kWarpsN * 32) == 0);
  static_assert(kWeightPasses % 4 == 0 && kHaloPassesATap <= 4, "copies go with the four k steps");

  static constexpr int SharedBytes(int chunks) {
    return kTableBytes + (chunks > 1 ? 2 : 1) * kHaloBytes + kStages * kWeightBytes;
  }
};

// The tiles, in order of preference where nobody has measured. Per tile: registers a thread
// (sm_90a), shared memory where there are several chunks (one halo less with one), blocks that an
// H100's multiprocessor holds, instructions a mma in the main loop. Warps of 64 pixels x 64
// channels read 4 KB of shared memory for 32 mma, 51 cycles' worth of mma on an H100 in 32 cycles
// of shared memory; the narrower warps of the last two tiles are bound by shared memory and are for
// small images.
//   128x128   236 registers    95 KB   2 blocks   2.5
//   256x128   236             134      1          2.4
//   256x64    236             108      2          2.5
//   128x64    160              71      3          3.6
//   64x64     112              52      4          4.9
constexpr int kConvGemmTiles = 5;
using ConvGemmTile0 = ConvGemmTile<8, 128, 2, 2, 2>;
using ConvGemmTile1 = ConvGemmTile<16, 128, 4, 2, 1>;
using ConvGemmTile2 = ConvGemmTile<16, 64, 4, 1, 2>;
using ConvGemmTile3 = ConvGemmTile<8, 64, 2, 2, 3>;
using ConvGemmTile4 = ConvGemmTile<4, 64, 2, 2, 4>;

// With wgmma: a warp's rows of pixels times all outputs.
template <int kPatchHeight, int kOutputs, int kWarps, int kBlocks>
struct ConvWgmmaTile : ConvGemmTile<kPatchHeight, kOutputs, kWarps, 1, kBlocks> {
  using Base = ConvGemmTile<kPatchHeight, kOutputs, kWarps, 1, kBlocks>;
  static_assert(kWarps % 4 == 0);
  // Taps whose weights are in shared memory: the one that is computed and two on their way; and one
  // more where a warpgroup may still read it while another one is a tap ahead.
  static constexpr int kAhead = 2, kSlots = 1 + kAhead + (kWarps > 4 ? 1 : 0);
  static constexpr int SharedBytes(int chunks) {
    return Base::kTableBytes + (chunks > 1 ? 2 : 1) * Base::kHaloBytes +
           kSlots * (Base::kWeightBytes + 2 * 8);
  }
};
constexpr int kConvWgmmaTiles = 3;
using ConvWgmmaTile0 = ConvWgmmaTile<16, 128, 8, 1>;
using ConvWgmmaTile1 = ConvWgmmaTile<8, 128, 4, 2>;
using ConvWgmmaTile2 = ConvWgmmaTile<16, 64, 4, 2>;

// Exact f32 without tensor cores: the same blocks, 32 x 64 outputs a warp.
constexpr int kConvGemmSimtTiles = 2;
using ConvGemmSimtTile0 = ConvGemmTile<8, 128, 4, 2, 2>;
using ConvGemmSimtTile1 = ConvGemmTile<8, 64, 4, 1, 3>;

struct ConvGemmKernel {
  void (*run)(ConvGemmArgs);
  int patch_height, outputs, threads;
  int score_partials;  // an output tile
  int (*shared_bytes)(int chunks);
};

template <class Tile>
ConvGemmKernel KernelOfTile(void (*run)(ConvGemmArgs)) {
  return {run,           Tile::kPatchHeight, Tile::kOutputs, Tile::kThreads,
          Tile::kWarpsN, Tile::SharedBytes};
}

ConvGemmKernel ConvGemmKernelBf16(int tile, bool stage_end);
ConvGemmKernel ConvGemmKernelF16(int tile, bool stage_end);
ConvGemmKernel ConvGemmKernelTf32(int tile, bool stage_end);
ConvGemmKernel ConvGemmKernelWgmma(DType dtype, int tile, bool stage_end);  // for sm_90a
ConvGemmKernel ConvGemmKernelSimt(int tile);

}  // namespace lseg::cuda
