// Backward weights of a 3x3 convolution as a GEMM on the tensor cores: rows are output channels,
// columns input channels at each of the nine taps, and the sum runs over pixels.
//
// A block has 64 x 32 channels and all taps, so that what it copies serves nine products. It walks
// down a strip of the image 32 pixels wide: at each row it needs one row of d_dst, and of src one
// new row, since the taps' other two are those that were new before; both stand in rings of rows
// that cp.async fills ahead, one barrier a row. Pixels are the rows of both operands, where mma
// wants them as columns: ldmatrix turns them (f32: single words are read where they are needed).
// What is outside the image comes as zeros.
//
// Blocks share the pixels by segments of strips and leave their sums in the workspace, added up by
// conv_partials.cuh. Sums of d_dst for the bias are products with ones, by the blocks of the first
// 32 input channels.
#pragma once

#include "kernels/cuda/conv_weights_kernel.h"
#include "kernels/cuda/mma.cuh"

namespace lseg::cuda {

// A row of pixels in shared memory: of each pixel kChannels channels.
template <class T, int kChannels>
struct PixelRow {
  static constexpr int kPixelBytes = kChannels * sizeof(T);
  static constexpr int kSegments = kPixelBytes / 16;

  // Where a segment of 16 bytes stands. With 2 bytes ldmatrix reads one segment of eight pixels in
  // succession; with f32 the lanes read eight neighbouring channels of four pixels. Either way no
  // bank is touched twice.
  __device__ static int At(int pixel, int segment) {
    if constexpr (sizeof(T) == 4) {
      return pixel * kPixelBytes + (segment ^ (pixel & 3) * 2) * 16;
    } else {
      constexpr int kPixels = 128 / kPixelBytes;  // of 128 bytes
      return pixel * kPixelBytes + (segment ^ (pixel / kPixels & (kSegments - 1))) * 16;
    }
  }

  // Queues the copy of kPixels pixels from `x0` on of row `y` of an image, channels from `first`.
  template <int kPixels>
  __device__ static void Copy(const T* tensor, int image, int height, int width, int channels,
                              int y, int x0, int first, uint32_t to) {
    const bool row = y >= 0 && y < height;
    const T* from = tensor + (static_cast<int64_t>(image) * height + y) * width * channels;
#pragma unroll
    for (int i = threadIdx.x; i < kPixels * kSegments; i += kWeightsThreads) {
      const int pixel = i / kSegments, segment = i % kSegments, x = x0 + pixel;
      const int channel = first + segment * (16 / static_cast<int>(sizeof(T)));
      const bool valid = row && x >= 0 && x < width && channel < channels;
      CpAsync16OrZeros(to + At(pixel, segment),
                       valid ? from + static_cast<int64_t>(x) * channels + channel : tensor, valid,
                       true);
    }
  }
};

template <class T>
struct WeightsTile {
  using Gradients = PixelRow<T, kWeightsOutputs>;
  using Sources = PixelRow<T, kWeightsInputs>;
  static constexpr int kGradientBytes = kWeightsPixels * Gradients::kPixelBytes;
  static constexpr int kSourceBytes = (kWeightsPixels + 2) * Sources::kPixelBytes;
  static constexpr int kSharedBytes =
      kWeightsGradientRows * kGradientBytes + kWeightsSourceRows * kSourceBytes;
};

// Operand a of kDepth pixels from `pixel` on: 64 output channels.
template <class T>
__device__ void LoadOutputs(const uint8_t* row, int pixel, uint32_t (&a)[4][4]) {
  using Row = PixelRow<T, kWeightsOutputs>;
  const int lane = threadIdx.x % 32;
  if constexpr (sizeof(T) == 2) {
    // Matrices: channels 0-7 and 8-15 of pixels 0-7, the same of pixels 8-15.
    pixel += lane % 8 + lane / 16 * 8;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      LdmatrixX4Trans(a[m], SharedAddress(row + Row::At(pixel, m * 2 + lane / 8 % 2)));
    }
  } else {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int m = 0; m < 4; ++m) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const int at = Row::At(pixel + i / 2 * 4 + t, m * 4 + i % 2 * 2 + g / 4) + g % 4 * 4;
        a[m][i] = *reinterpret_cast<const uint32_t*>(row + at);
      }
    }
  }
}

// Operand b of 2 * kDepth pixels from `pixel` on: 8 input channels, the warp's eighth of the row.
template <class T>
__device__ void LoadInputs(const uint8_t* row, int pixel, int eighth, uint32_t (&b)[4]) {
  using Row = PixelRow<T, kWeightsInputs>;
  const int lane = threadIdx.x % 32;
  if constexpr (sizeof(T) == 2) {
    LdmatrixX4Trans(b, SharedAddress(row + Row::At(pixel + lane, eighth)));
  } else {
    const int g = lane / 4, t = lane % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const int at = Row::At(pixel + i * 4 + t, eighth * 2 + g / 4) + g % 4 * 4;
      b[i] = *reinterpret_cast<const uint32_t*>(row + at);
    }
  }
}

// Where a block is: a row of a segment of a strip, counted from two rows of src before the first
// row of d_dst that it takes.
struct WeightsCursor {
  __device__ WeightsCursor(const ConvWeightsArgs& args) : segment(blockIdx.y) { Start(args); }

  __device__ void Start(const ConvWeightsArgs& args) {
    row = 0;
    image = segment / args.segments_y / args.strips;
    x = segment / args.segments_y % args.strips * kWeightsPixels;
    y = segment % args.segments_y * args.segment_rows;
    rows = min(args.segment_rows, args.out_height - y) + 2;
  }
  __device__ bool Done(const ConvWeightsArgs& args) const { return segment >= args.segments; }
  __device__ void Next(const ConvWeightsArgs& args) {
    if (++row < rows) return;
    segment += gridDim.y;
    Start(args);
  }

  int segment, image, x, y, rows, row;
};

template <class T>
class RowCopies {
 public:
  __device__ RowCopies(const ConvWeightsArgs& args, uint8_t* gradients, uint8_t* sources)
      : cursor_(args), gradients_(SharedAddress(gradients)), sources_(SharedAddress(sources)) {}

  // Queues the rows of the cursor, if any, as one group.
  __device__ void Next(const ConvWeightsArgs& args) {
    if (!cursor_.Done(args)) {
      using Tile = WeightsTile<T>;
      Tile::Sources::template Copy<kWeightsPixels + 2>(
          static_cast<const T*>(args.src), cursor_.image, args.in_height, args.in_width,
          args.inputs, cursor_.y + cursor_.row - args.pad_y, cursor_.x - args.pad_x,
          static_cast<int>(blockIdx.x) % args.input_tiles * kWeightsInputs,
          sources_ + source_ * Tile::kSourceBytes);
      if (cursor_.row >= 2) {
        Tile::Gradients::template Copy<kWeightsPixels>(
            static_cast<const T*>(args.d_dst), cursor_.image, args.out_height, args.out_width,
            args.outputs, cursor_.y + cursor_.row - 2, cursor_.x,
            static_cast<int>(blockIdx.x) / args.input_tiles * kWeightsOutputs,
            gradients_ + gradient_ * Tile::kGradientBytes);
      }
      source_ = source_ + 1 == kWeightsSourceRows ? 0 : source_ + 1;
      gradient_ = gradient_ + 1 == kWeightsGradientRows ? 0 : gradient_ + 1;
      cursor_.Next(args);
    }
    CommitGroup();
  }

 private:
  WeightsCursor cursor_;
  uint32_t gradients_, sources_;
  int source_ = 0, gradient_ = 0;
};

// The products of a row of 32 pixels. bias: those with ones, of the warp's quarter of the outputs.
template <class T>
__device__ void MultiplyRow(const uint8_t* gradients, const uint8_t* const (&sources)[3],
                            bool wants_bias, float (&sums)[4][kWeightsTaps][4], float (&bias)[4]) {
  constexpr int kDepth = Mma<T>::kDepth;
  const int warp = threadIdx.x / 32;
  constexpr uint32_t kOnes = Mma<T>::kOnes;
#pragma unroll
  for (int pixel = 0; pixel < kWeightsPixels; pixel += 2 * kDepth) {
    uint32_t a[2][4][4];
    LoadOutputs<T>(gradients, pixel, a[0]);
    LoadOutputs<T>(gradients, pixel + kDepth, a[1]);
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      if (!wants_bias || m != warp) continue;
      Mma<T>::Run(bias, a[0][m], kOnes, kOnes);
      Mma<T>::Run(bias, a[1][m], kOnes, kOnes);
    }
#pragma unroll
    for (int tap = 0; tap < kWeightsTaps; ++tap) {
      uint32_t b[4];
      LoadInputs<T>(sources[tap / 3], pixel + tap % 3, warp, b);
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        Mma<T>::Run(sums[m][tap], a[0][m], b[0], b[1]);
        Mma<T>::Run(sums[m][tap], a[1][m], b[2], b[3]);
      }
    }
  }
}

// To the block's part of the workspace: [tap][output][input], then the bias.
__device__ inline void StorePartials(const ConvWeightsArgs& args, bool has_bias,
                                     const float (&sums)[4][kWeightsTaps][4],
                                     const float (&bias)[4]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, t = lane % 4;
  const int output = static_cast<int>(blockIdx.x) / args.input_tiles * kWeightsOutputs + g;
  const int input =
      static_cast<int>(blockIdx.x) % args.input_tiles * kWeightsInputs + warp * 8 + t * 2;
  float* part = args.partials + blockIdx.y * args.part_elements;
#pragma unroll
  for (int tap = 0; tap < kWeightsTaps; ++tap) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int row = output + i * 8;
      if (row >= args.outputs || input >= args.inputs) continue;
      const float(&sum)[4] = sums[i / 2][tap];
      float* to = part + (static_cast<int64_t>(tap) * args.outputs + row) * args.inputs + input;
      *reinterpret_cast<float2*>(to) = make_float2(sum[i % 2 * 2], sum[i % 2 * 2 + 1]);
    }
  }
  if (!has_bias || t != 0) return;
  float* to = part + static_cast<int64_t>(kWeightsTaps) * args.outputs * args.inputs;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int row = output + warp * 16 + i * 8;
    if (row < args.outputs) to[row] = bias[i * 2];
  }
}

// Block (tile of outputs and inputs, part of the pixels).
template <class T>
__global__ void __launch_bounds__(kWeightsThreads, 2) ConvWeights(const ConvWeightsArgs args) {
  using Tile = WeightsTile<T>;
  extern __shared__ __align__(128) uint8_t shared[];
  uint8_t* sources = shared + kWeightsGradientRows * Tile::kGradientBytes;
  RowCopies<T> copies(args, shared, sources);
  for (int i = 0; i < kWeightsAhead; ++i) copies.Next(args);
  const bool wants_bias = args.bias && blockIdx.x % args.input_tiles == 0;
  float sums[4][kWeightsTaps][4] = {}, bias[4] = {};
  int gradient = 0, source = 0;  // rows of the rings
  for (WeightsCursor cursor(args); !cursor.Done(args); cursor.Next(args)) {
    WaitGroup<kWeightsAhead - 1>();
    __syncthreads();  // the row is there, and everybody is done with the one before
    copies.Next(args);
    if (cursor.row >= 2) {
      const uint8_t* rows[3];
#pragma unroll
      for (int r = 0; r < 3; ++r) {
        const int ring = source + r - 2 < 0 ? source + r - 2 + kWeightsSourceRows : source + r - 2;
        rows[r] = sources + ring * Tile::kSourceBytes;
      }
      MultiplyRow<T>(shared + gradient * Tile::kGradientBytes, rows, wants_bias, sums, bias);
    }
    source = source + 1 == kWeightsSourceRows ? 0 : source + 1;
    gradient = gradient + 1 == kWeightsGradientRows ? 0 : gradient + 1;
  }
  WaitGroup<0>();
  StorePartials(args, wants_bias, sums, bias);
}

}  // namespace lseg::cuda
