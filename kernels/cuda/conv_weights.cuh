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
// SumWeights (conv_weights.cu). Sums of d_dst for the bias are products with ones, by the blocks of
// the first 32 input channels.
//
// Counted on softgpu, bf16: 72 mma, 17 ldmatrix.x4 and about 270 instructions of PTX a warp and
// row; no bank conflicts, every sector of loads, copies and stores whole. 68 wavefronts of shared
// memory a warp and row against some 115 cycles of a multiprocessor's tensor cores: products are
// the limit.
#pragma once

#include "kernels/cuda/conv_weights_copy.cuh"
#include "kernels/cuda/conv_weights_kernel.h"
#include "kernels/cuda/mma.cuh"

namespace lseg::cuda {

template <class T>
struct WeightsTile {
  using Gradients = PixelRow<T, kWeightsOutputs>;
  using Sources = PixelRow<T, kWeightsInputs>;
  static constexpr int kGradientBytes = kWeightsPixels * Gradients::kPixelBytes;
  static constexpr int kSourceBytes = (kWeightsPixels + 2) * Sources::kPixelBytes;
  static constexpr int kSharedBytes =
      kWeightsGradientRows * kGradientBytes + kWeightsSourceRows * kSourceBytes;
};

// Operand a of kDepth pixels: output channels 16m to 16m + 15. `at` is where a lane begins to read
// in a row, see OutputsOf.
template <class T>
__device__ void LoadOutputs(const uint8_t* shared, uint32_t at, int m, uint32_t (&a)[4]) {
  if constexpr (sizeof(T) == 2) {
    LdmatrixX4Trans(a, SharedAddress(shared + (at ^ m * 32)));
  } else {
    constexpr int kPixelBytes = PixelRow<T, kWeightsOutputs>::kPixelBytes;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i] = *reinterpret_cast<const uint32_t*>(shared + (at ^ (m * 64 + i % 2 * 32)) +
                                                i / 2 * 4 * kPixelBytes);
    }
  }
}

// Operands b of 2 * kDepth pixels: 8 input channels.
template <class T>
__device__ void LoadInputs(const uint8_t* shared, uint32_t at, uint32_t (&b)[4]) {
  if constexpr (sizeof(T) == 2) {
    LdmatrixX4Trans(b, SharedAddress(shared + at));
  } else {
    constexpr int kPixelBytes = PixelRow<T, kWeightsInputs>::kPixelBytes;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      b[i] = *reinterpret_cast<const uint32_t*>(shared + at + i * 4 * kPixelBytes);
    }
  }
}

// Where a lane begins to read a row: with 2 bytes the address it gives to ldmatrix, whose matrices
// are channels 0-7 and 8-15 of pixels 0-7 and the same of pixels 8-15; with f32 its first word.
template <class T>
__device__ uint32_t OutputsOf(int lane) {
  using Row = PixelRow<T, kWeightsOutputs>;
  if constexpr (sizeof(T) == 2) return Row::At(lane % 8 + lane / 16 * 8, lane / 8 % 2);
  return Row::At(lane % 4, lane / 16) + lane / 4 % 4 * 4;
}

// The same of the warp's eighth of the row of src, for a tap `shift` pixels to the right: pixels
// 0-7, 8-15, 16-23, 24-31.
template <class T>
__device__ uint32_t InputsOf(int lane, int warp, int shift) {
  using Row = PixelRow<T, kWeightsInputs>;
  if constexpr (sizeof(T) == 2) return Row::At(lane + shift, warp);
  return Row::At(lane % 4 + shift, warp * 2 + lane / 16) + lane / 4 % 4 * 4;
}

template <class T>
class RowCopies {
 public:
  __device__ RowCopies(const ConvWeightsArgs& args, uint32_t gradients, uint32_t sources)
      : cursor_(args),
        gradient_copy_(args.d_dst,
                       static_cast<int>(blockIdx.x) / args.input_tiles * kWeightsOutputs,
                       args.outputs),
        source_copy_(args.src, static_cast<int>(blockIdx.x) % args.input_tiles * kWeightsInputs,
                     args.inputs),
        gradients_(gradients),
        sources_(sources) {}

  // Queues the rows of the cursor, if any, as one group.
  __device__ void Next(const ConvWeightsArgs& args) {
    using Tile = WeightsTile<T>;
    if (!cursor_.Done(args)) {
      if (cursor_.row == 0) {
        gradient_copy_.Start(cursor_.image, args.out_height, args.out_width, cursor_.y, cursor_.x);
        source_copy_.Start(cursor_.image, args.in_height, args.in_width, cursor_.y - args.pad_y,
                           cursor_.x - args.pad_x);
      }
      source_copy_.Next(sources_ + source_ * Tile::kSourceBytes);
      if (cursor_.row >= 2) gradient_copy_.Next(gradients_ + gradient_ * Tile::kGradientBytes);
      source_ = source_ + 1 == kWeightsSourceRows ? 0 : source_ + 1;
      gradient_ = gradient_ + 1 == kWeightsGradientRows ? 0 : gradient_ + 1;
      cursor_.Next(args);
    }
    CommitGroup();
  }

 private:
  WeightsCursor cursor_;
  RowCopy<T, kWeightsOutputs, kWeightsPixels, kWeightsThreads> gradient_copy_;
  RowCopy<T, kWeightsInputs, kWeightsPixels + 2, kWeightsThreads> source_copy_;
  uint32_t gradients_, sources_;
  int source_ = 0, gradient_ = 0;
};

// The products of a row of 32 pixels, whose rows begin at the given bytes of shared memory.
template <class T>
__device__ void MultiplyRow(const uint8_t* shared, uint32_t outputs, const uint32_t (&sources)[3],
                            const uint32_t (&inputs)[3], float (&sums)[4][kWeightsTaps][4]) {
  constexpr int kDepth = Mma<T>::kDepth;
  constexpr int kOutputBytes = PixelRow<T, kWeightsOutputs>::kPixelBytes;
  constexpr int kInputBytes = PixelRow<T, kWeightsInputs>::kPixelBytes;
#pragma unroll
  for (int pixel = 0; pixel < kWeightsPixels; pixel += 2 * kDepth) {
    uint32_t a[2][4][4];
#pragma unroll
    for (int m = 0; m < 4; ++m) {
      LoadOutputs<T>(shared, outputs + pixel * kOutputBytes, m, a[0][m]);
      LoadOutputs<T>(shared, outputs + (pixel + kDepth) * kOutputBytes, m, a[1][m]);
    }
#pragma unroll
    for (int tap = 0; tap < kWeightsTaps; ++tap) {
      uint32_t b[4];
      LoadInputs<T>(shared, sources[tap / 3] + inputs[tap % 3] + pixel * kInputBytes, b);
#pragma unroll
      for (int m = 0; m < 4; ++m) {
        Mma<T>::Run(sums[m][tap], a[0][m], b[0], b[1]);
        Mma<T>::Run(sums[m][tap], a[1][m], b[2], b[3]);
      }
    }
  }
}

// The products with ones of the warp's quarter of the outputs.
template <class T>
__device__ void AddUpRow(const uint8_t* shared, uint32_t outputs, float (&bias)[4]) {
  constexpr uint32_t kOnes = Mma<T>::kOnes;
#pragma unroll
  for (int pixel = 0; pixel < kWeightsPixels; pixel += Mma<T>::kDepth) {
    uint32_t a[4];
    LoadOutputs<T>(shared, outputs + pixel * PixelRow<T, kWeightsOutputs>::kPixelBytes,
                   threadIdx.x / 32, a);
    Mma<T>::Run(bias, a, kOnes, kOnes);
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
  constexpr uint32_t kSources = kWeightsGradientRows * Tile::kGradientBytes;
  extern __shared__ __align__(128) uint8_t shared[];
  RowCopies<T> copies(args, SharedAddress(shared), SharedAddress(shared) + kSources);
  for (int i = 0; i < kWeightsAhead; ++i) copies.Next(args);
  const bool wants_bias = args.bias && blockIdx.x % args.input_tiles == 0;
  float sums[4][kWeightsTaps][4] = {}, bias[4] = {};
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const uint32_t outputs = OutputsOf<T>(lane);
  const uint32_t inputs[3] = {InputsOf<T>(lane, warp, 0), InputsOf<T>(lane, warp, 1),
                              InputsOf<T>(lane, warp, 2)};
  uint32_t gradient = 0;                   // the row of d_dst
  uint32_t sources[3] = {0, 0, kSources};  // the rows of src; before the third one, any
  for (WeightsCursor cursor(args); !cursor.Done(args); cursor.Next(args)) {
    WaitGroup<kWeightsAhead - 1>();
    __syncthreads();  // the row is there, and everybody is done with the one before
    copies.Next(args);
    if (cursor.row >= 2) {
      MultiplyRow<T>(shared, gradient + outputs, sources, inputs, sums);
      if (wants_bias) AddUpRow<T>(shared, gradient + outputs, bias);
    }
    gradient += Tile::kGradientBytes;
    if (gradient == kSources) gradient = 0;
    sources[0] = sources[1];
    sources[1] = sources[2];
    sources[2] += Tile::kSourceBytes;
    if (sources[2] == Tile::kSharedBytes) sources[2] = kSources;
  }
  WaitGroup<0>();
  StorePartials(args, wants_bias, sums, bias);
}

}  // namespace lseg::cuda
