// Engine "first_layer": 3x3, stride 1, pad 1, from an image of at most 4 channels (NCHW, f32) to
// NHWC. What its two kernels share. For .cu files.
#pragma once

#include "kernels/conv.h"
#include "kernels/cuda/mma.cuh"

namespace lseg::cuda {

// Tiles of the output image.
constexpr int kFirstWidth = 64, kFirstHeight = 8;
// Channels of dst that a block computes.
constexpr int kFirstOutputs = 64;
constexpr int kFirstThreads = 128;

struct FirstArgs {
  int images, channels, height, width, outputs;
  int tiles_x, tiles_y;
  const float* src;
};

// A tile of src with the pixels around it in shared memory, [channel][row][column] of T. The
// distances between rows and channels are such that the taps that the lanes of a warp read at the
// same time, of eight neighbouring pixels each, lie in different banks: they are 3 x 3 taps of
// consecutive rows, channels included, and consecutive rows are 8 (T of 2 bytes) or 12 banks apart.
template <class T>
struct FirstTile {
  static constexpr int kRows = kFirstHeight + 2, kColumns = kFirstWidth + 2;
  static constexpr int kRow = sizeof(T) == 2 ? 80 : 76;
  static constexpr int kChannel = kRows * kRow + (sizeof(T) == 2 ? 16 : 12);

  // Where tap k (channel, row, column in OIHW's order) stands from the tile's first pixel.
  __device__ static int TapAt(int k) { return k / 9 * kChannel + k % 9 / 3 * kRow + k % 3; }

  // Copies it; rounded as products take it unless kExact. Zeros outside the image.
  template <bool kExact = false>
  __device__ static void Load(const FirstArgs& args, int image, int y0, int x0, T* tile) {
    const int lane = threadIdx.x % 32;
    const float* src =
        args.src + static_cast<int64_t>(image) * args.channels * args.height * args.width;
    for (int row = threadIdx.x / 32; row < args.channels * kRows; row += kFirstThreads / 32) {
      const int channel = row / kRows, y = y0 - 1 + row % kRows;
      const bool inside = y >= 0 && y < args.height;
      const float* from = src + (static_cast<int64_t>(channel) * args.height + y) * args.width;
      T* to = tile + channel * kChannel + row % kRows * kRow;
      for (int column = lane; column < kColumns; column += 32) {
        const int x = x0 - 1 + column;
        const float value = inside && x >= 0 && x < args.width ? from[x] : 0.0f;
        if constexpr (kExact) {
          to[column] = value;
        } else {
          to[column] = Mma<T>::Round(value);
        }
      }
    }
  }
};

// Position of a tile.
struct FirstPlace {
  __device__ FirstPlace(const FirstArgs& args, int tile)
      : image(tile / args.tiles_x / args.tiles_y),
        y(tile / args.tiles_x % args.tiles_y * kFirstHeight),
        x(tile % args.tiles_x * kFirstWidth) {}
  int image, y, x;
};

FirstArgs MakeFirstArgs(const ConvParams& params);
// dtype: of dst. Exact f32 has no backward weights here.
void RunFirstForward(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run);
void RunFirstWeights(Context& context, const ConvParams& params, DType dtype, const ConvArgs& run);
int64_t FirstWeightsWorkspace(const Context& context, const ConvParams& params);

}  // namespace lseg::cuda
