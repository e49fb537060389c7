// The implicit GEMM in exact f32: the blocks, halos and rings of conv_gemm.cuh, with fused
// multiply-adds in place of mma. A thread holds 8 pixels x 8 channels, so that 16 reads of 16 bytes
// serve 256 multiply-adds.
#include "kernels/cuda/conv_gemm_copy.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/ptx.cuh"

namespace lseg::cuda {
namespace {

constexpr int kChunk = kRowBytes / 4;  // channels

// Lanes of a warp: 4 columns of pixels x 8 quads of channels. A thread's pixels stand 4 columns
// apart in two rows; its channels are quad lane % 8 of the first 32 and of the second 32.
struct ThreadPlace {
  int column, row, output;

  template <class Tile>
  __device__ static ThreadPlace Of() {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    return {lane / 8, warp / Tile::kWarpsN * 2, warp % Tile::kWarpsN * 64 + lane % 8 * 4};
  }
};

__device__ inline void MultiplyAdd(float (&sums)[8], float a, const float4& b0, const float4& b1) {
  sums[0] += a * b0.x, sums[1] += a * b0.y, sums[2] += a * b0.z, sums[3] += a * b0.w;
  sums[4] += a * b1.x, sums[5] += a * b1.y, sums[6] += a * b1.z, sums[7] += a * b1.w;
}

// One tap of a chunk. halo, weights: the tap's, in shared memory.
template <class Tile>
__device__ void MultiplyTap(const ThreadPlace& thread, const uint8_t* halo, const float* weights,
                            int tap, float (&sums)[8][8]) {
  const int row = thread.row + tap / 3, column = thread.column + tap % 3;
  const uint8_t* pixel = halo + (row * Tile::kHaloWidth + column) * kRowBytes;
  const float* weight = weights + thread.output;
#pragma unroll 1
  for (int k = 0; k < kChunk / 4; ++k) {
    float4 a[8];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int at = (i / 4 * Tile::kHaloWidth + i % 4 * 4) * kRowBytes;
      const int swizzled = SwizzledByte(column + i % 2 * 4, k * 16);
      a[i] = *reinterpret_cast<const float4*>(pixel + at + swizzled);
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      const float* channel = weight + (k * 4 + j) * Tile::kOutputs;
      const float4 b0 = *reinterpret_cast<const float4*>(channel);
      const float4 b1 = *reinterpret_cast<const float4*>(channel + 32);
#pragma unroll
      for (int i = 0; i < 8; ++i) {
        MultiplyAdd(sums[i], j == 0 ? a[i].x : j == 1 ? a[i].y : j == 2 ? a[i].z : a[i].w, b0, b1);
      }
    }
  }
}

// at: of the first of four channels in the output.
__device__ inline void StoreFour(const ConvGemmArgs& args, int64_t at, const float* sums,
                                 const float (&bias)[4]) {
  float* to = static_cast<float*>(args.out) + at;
  float4 value = args.add ? *reinterpret_cast<const float4*>(to) : make_float4(0, 0, 0, 0);
  value.x += sums[0] + bias[0], value.y += sums[1] + bias[1];
  value.z += sums[2] + bias[2], value.w += sums[3] + bias[3];
  if (args.relu) {
    value.x = MaxNan(value.x, 0), value.y = MaxNan(value.y, 0);
    value.z = MaxNan(value.z, 0), value.w = MaxNan(value.w, 0);
  }
  if (args.mask != nullptr) {
    const float4 mask = *reinterpret_cast<const float4*>(static_cast<const float*>(args.mask) + at);
    value.x = mask.x > 0 ? value.x : 0, value.y = mask.y > 0 ? value.y : 0;
    value.z = mask.z > 0 ? value.z : 0, value.w = mask.w > 0 ? value.w : 0;
  }
  *reinterpret_cast<float4*>(to) = value;
}

// A quarter of a warp writes 128 bytes of a pixel.
template <class Tile>
__device__ void StoreThread(const ConvGemmArgs& args, const ConvGemmPlace& place,
                            const ThreadPlace& thread, const float (&sums)[8][8]) {
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    const int output = place.output_tile * Tile::kOutputs + thread.output + half * 32;
    if (output >= args.out_channels) continue;
    float bias[4] = {0, 0, 0, 0};
    for (int c = 0; c < 4 && args.bias != nullptr; ++c) bias[c] = args.bias[output + c];
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      const int y = place.y + thread.row + i / 4, x = place.x + thread.column + i % 4 * 4;
      if (y >= args.out_height || x >= args.out_width) continue;
      const int64_t at =
          ((int64_t{place.image} * args.out_height + y) * args.out_width + x) * args.out_channels +
          output;
      StoreFour(args, at, &sums[i][half * 4], bias);
    }
  }
}

template <class Tile>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ConvGemmSimt(const ConvGemmArgs args) {
  static_assert(Tile::kPatchHeight == 2 * Tile::kWarpsM && Tile::kOutputs == 64 * Tile::kWarpsN);
  extern __shared__ __align__(128) uint8_t shared[];
  const int halos = args.chunks > 1 ? 2 : 1, steps = args.chunks * kConvTaps;
  uint8_t* ring = shared + halos * Tile::kHaloBytes;
  __shared__ ConvGemmPlace place;  // in no register while the sums fill them
  if (threadIdx.x == 0) place = PlaceOfBlock<Tile>(args);
  __syncthreads();
  HaloCopy<Tile> halo_copy(args, place, sizeof(float),
                           reinterpret_cast<int2*>(ring + Tile::kStages * Tile::kWeightBytes));
  WeightCopy<Tile> weight_copy(args, place, SharedAddress(ring));
  __syncthreads();  // the table

  CopyFirst(halo_copy, weight_copy, SharedAddress(shared));
  const ThreadPlace thread = ThreadPlace::Of<Tile>();
  float sums[8][8] = {};
  int tap = 0, chunk = 0;
  const uint8_t* weights = ring;
  for (int step = 0; step < steps; ++step) {
    WaitGroup<Tile::kStages - 2>();
    __syncthreads();  // the tap has arrived, and everybody is done with the one before
    if (tap == 0) halo_copy.NextChunk();
    const uint8_t* halo = shared + chunk % 2 * Tile::kHaloBytes;
    const uint8_t* next_halo = shared + (chunk + 1) % 2 * Tile::kHaloBytes;
#pragma unroll
    for (int quarter = 0; quarter < 4; ++quarter) {
      CopyNext(args, quarter, tap, chunk, halo_copy, weight_copy, SharedAddress(next_halo));
    }
    weight_copy.NextTap();
    CommitGroup();
    MultiplyTap<Tile>(thread, halo, reinterpret_cast<const float*>(weights), tap, sums);
    weights += Tile::kWeightBytes;
    if (weights == ring + Tile::kStages * Tile::kWeightBytes) weights = ring;
    if (++tap == kConvTaps) {
      tap = 0;
      ++chunk;
    }
  }
  WaitGroup<0>();
  StoreThread<Tile>(args, place, thread, sums);
}

}  // namespace

ConvGemmKernel ConvGemmKernelSimt(int tile) {
  switch (tile) {
    case 0:
      return KernelOfTile<ConvGemmSimtTile0>(ConvGemmSimt<ConvGemmSimtTile0>);
    case 1:
      return KernelOfTile<ConvGemmSimtTile1>(ConvGemmSimt<ConvGemmSimtTile1>);
  }
  LSEG_FAIL("the implicit GEMM without tensor cores has no tile " << tile);
}

}  // namespace lseg::cuda
