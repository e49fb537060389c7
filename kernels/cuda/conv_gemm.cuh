// 3x3 convolution as an implicit GEMM on the tensor cores (mma.sync): rows are output pixels,
// columns output channels, and the sum runs over chunks of 128 bytes of input channels and the nine
// taps.
//
// A block's pixels are a patch of one image. Of a chunk of channels the patch and the pixels around
// it are copied to shared memory once and serve all nine taps, which read them shifted: this is why
// the GEMM is not cut out of the tensor row by row. The weights of a tap stream through a ring of
// kStages buffers. Both are filled by cp.async while the tensor cores work on what came before, one
// barrier a tap. A k step is 32 bytes of channels, whatever the type: 16 of bf16 and f16, 8 of f32.
#pragma once

#include "kernels/cuda/conv_gemm_copy.cuh"
#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/conv_gemm_pixels.cuh"
#include "kernels/cuda/conv_gemm_stage_end.cuh"
#include "kernels/cuda/conv_gemm_store.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ptx.cuh"

namespace lseg::cuda {

struct Bf16Products {
  using Element = __nv_bfloat16;
  __device__ static void Mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MmaBf16(d, a, b0, b1);
  }
};
struct F16Products {
  using Element = __half;
  __device__ static void Mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MmaF16(d, a, b0, b1);
  }
};
struct Tf32Products {
  using Element = float;
  __device__ static void Mma(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
    MmaTf32(d, a, b0, b1);
  }
};

// Walks through the taps' weights in the ring, and through the pixels with them.
template <class Tile>
class TapReader {
 public:
  __device__ TapReader(uint32_t halo, uint32_t ring, int halos) : pixels_(halo, halos) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    // Outputs 0-7 of both 16 bytes, then outputs 8-15.
    const int output = warp % Tile::kWarpsN * Tile::kFragmentsN * 8 + lane % 8 + lane / 16 * 8;
    weights_ = ring + output * kRowBytes + SwizzledByte(output, lane / 8 % 2 * 16);
    ring_end_ = weights_ + Tile::kStages * Tile::kWeightBytes;
  }

  __device__ void Load(int k, uint32_t (&a)[Tile::kFragmentsM][4],
                       uint32_t (&b)[Tile::kFragmentsN / 2][4]) const {
    pixels_.Load(k, a);
#pragma unroll
    for (int n = 0; n < Tile::kFragmentsN / 2; ++n) {
      LdmatrixX4(b[n], (weights_ ^ (k * 32)) + n * 16 * kRowBytes);
    }
  }

  __device__ void NextTap() {
    weights_ += Tile::kWeightBytes;
    if (weights_ == ring_end_) weights_ -= Tile::kStages * Tile::kWeightBytes;
    pixels_.NextTap();
  }

 private:
  PixelReader<Tile> pixels_;
  uint32_t ring_end_, weights_;
};

template <class Tile, class Products>
__device__ void Multiply(const uint32_t (&a)[Tile::kFragmentsM][4],
                         const uint32_t (&b)[Tile::kFragmentsN / 2][4],
                         float (&sums)[Tile::kFragmentsM][Tile::kFragmentsN][4]) {
#pragma unroll
  for (int m = 0; m < Tile::kFragmentsM; ++m) {
#pragma unroll
    for (int n = 0; n < Tile::kFragmentsN; ++n) {
      Products::Mma(sums[m][n], a[m], b[n / 2][n % 2 * 2], b[n / 2][n % 2 * 2 + 1]);
    }
  }
}

template <class Tile, class Products, bool kStageEnd>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks) ConvGemm(const ConvGemmArgs args) {
  extern __shared__ __align__(128) uint8_t shared[];
  const int halos = args.chunks > 1 ? 2 : 1, steps = args.chunks * kConvTaps;
  const uint32_t halo = SharedAddress(shared), ring = halo + halos * Tile::kHaloBytes;
  int2* table = reinterpret_cast<int2*>(shared + halos * Tile::kHaloBytes +
                                        Tile::kStages * Tile::kWeightBytes);
  const ConvGemmPlace place = PlaceOfBlock<Tile>(args);
  HaloCopy<Tile> halo_copy(args, place, sizeof(typename Products::Element), table);
  WeightCopy<Tile> weight_copy(args, place, ring);
  __syncthreads();  // the table

  CopyFirst(halo_copy, weight_copy, halo);
  float sums[Tile::kFragmentsM][Tile::kFragmentsN][4];
  StartFromBias<Tile>(args, place, sums);
  TapReader<Tile> reader(halo, ring, halos);
  uint32_t a[2][Tile::kFragmentsM][4], b[2][Tile::kFragmentsN / 2][4];
  WaitGroup<Tile::kStages - 2>();
  __syncthreads();
  reader.Load(0, a[0], b[0]);

  int tap = 0, chunk = 0;
  uint32_t next_halo = halo + Tile::kHaloBytes;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    if (tap == 0) halo_copy.NextChunk();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      CopyNext(args, k, tap, chunk, halo_copy, weight_copy, next_halo);
      if (k == 3) {  // the next tap has arrived, and everybody is done with the one before this
        weight_copy.NextTap();
        CommitGroup();
        WaitGroup<Tile::kStages - 2>();
        __syncthreads();
        reader.NextTap();
      }
      reader.Load((k + 1) % 4, a[(k + 1) % 2], b[(k + 1) % 2]);
      Multiply<Tile, Products>(a[k % 2], b[k % 2], sums);
    }
    if (++tap == kConvTaps) {
      tap = 0;
      ++chunk;
      next_halo = halo + (chunk % 2 == 0 ? Tile::kHaloBytes : 0);
    }
  }
  WaitGroup<0>();
  __syncthreads();  // shared memory is free
  if constexpr (kStageEnd) {
    StoreStageEnd<Tile, typename Products::Element>(args, place, shared, sums);
  } else {
    StoreSums<Tile, typename Products::Element>(args, place, shared, sums);
  }
}

template <class Products, bool kStageEnd>
ConvGemmKernel KernelOf(int tile) {
  switch (tile) {
    case 0:
      return KernelOfTile<ConvGemmTile0>(ConvGemm<ConvGemmTile0, Products, kStageEnd>);
    case 1:
      return KernelOfTile<ConvGemmTile1>(ConvGemm<ConvGemmTile1, Products, kStageEnd>);
    case 2:
      return KernelOfTile<ConvGemmTile2>(ConvGemm<ConvGemmTile2, Products, kStageEnd>);
    case 3:
      return KernelOfTile<ConvGemmTile3>(ConvGemm<ConvGemmTile3, Products, kStageEnd>);
    case 4:
      return KernelOfTile<ConvGemmTile4>(ConvGemm<ConvGemmTile4, Products, kStageEnd>);
  }
  LSEG_FAIL("the implicit GEMM has no tile " << tile);
}

}  // namespace lseg::cuda
