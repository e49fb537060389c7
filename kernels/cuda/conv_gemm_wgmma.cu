// The implicit GEMM on Hopper's tensor cores (wgmma, sm_90a): patches, halos, packed weights,
// copies and stores are those of conv_gemm.cuh. What differs is who multiplies: four warps issue a
// product of 64 pixels and all outputs of the tile together, which runs while they go on. The
// weights are read from shared memory by the tensor cores themselves, the pixels from registers,
// where the taps' shifts cost nothing; a warp's pixels and sums lie as with mma.sync.
//
// A warp reads the pixels of the next k step while the products of this one run. Products are
// waited for one k step later, so that they run across the barrier of a tap, and the ring has one
// buffer more than with mma.sync: in it the products of the tap before may still be reading.
#include "kernels/cuda/conv_gemm_copy.cuh"
#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/conv_gemm_pixels.cuh"
#include "kernels/cuda/conv_gemm_stage_end.cuh"
#include "kernels/cuda/conv_gemm_store.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/ptx_sm90a.cuh"
#include "kernels/runtime/check.h"

namespace lseg::cuda {
namespace {

template <class T, int kCount>
__device__ void Product(float (&sums)[kCount][4], const uint32_t (&a)[4], uint64_t b) {
  if constexpr (std::is_same_v<T, __half>) {
    WgmmaF16(sums, a, b);
  } else if constexpr (std::is_same_v<T, float>) {
    WgmmaTf32(sums, a, b);
  } else {
    WgmmaBf16(sums, a, b);
  }
}

template <class Tile, class T, bool kStageEnd>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ConvGemmWgmma(const ConvGemmArgs args) {
  static_assert(Tile::kWarpsN == 1 && Tile::kWarpsM % 4 == 0 && Tile::kSlots == Tile::kStages + 1);
  extern __shared__ __align__(1024) uint8_t shared[];
  const int halos = args.chunks > 1 ? 2 : 1, steps = args.chunks * kConvTaps;
  const uint32_t ring = SharedAddress(shared), halo = ring + Tile::kSlots * Tile::kWeightBytes;
  const uint32_t ring_end = halo;
  int2* table = reinterpret_cast<int2*>(shared + Tile::kSlots * Tile::kWeightBytes +
                                        halos * Tile::kHaloBytes);
  const ConvGemmPlace place = PlaceOfBlock<Tile>(args);
  HaloCopy<Tile> halo_copy(args, place, sizeof(T), table);
  WeightCopy<Tile> weight_copy(args, place, ring);
  __syncthreads();  // the table

  CopyFirst(halo_copy, weight_copy, halo);
  float sums[Tile::kFragmentsM][Tile::kFragmentsN][4];
  StartFromBias<Tile>(args, place, sums);
  PixelReader<Tile> reader(halo, halos);
  uint32_t a[2][Tile::kFragmentsM][4];
  WaitGroup<Tile::kStages - 2>();
  FenceForProducts();
  __syncthreads();
  reader.Load(0, a[0]);

  int tap = 0, chunk = 0;
  uint32_t next_halo = halo + Tile::kHaloBytes, weights = ring;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    if (tap == 0) halo_copy.NextChunk();
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      WarpgroupFence();
#pragma unroll
      for (int m = 0; m < Tile::kFragmentsM; ++m) {
        Product<T>(sums[m], a[k % 2][m], SwizzledRows(weights + k * 32));
      }
      CommitProducts();
      WaitProducts<1>();  // the step before is done with its pixels, and this one is not
      CopyNext(args, k, tap, chunk, halo_copy, weight_copy, next_halo);
      if (k == 3) {  // the next tap has arrived, and everybody is done with the one before this
        weight_copy.NextTap();
        CommitGroup();
        WaitGroup<Tile::kStages - 2>();
        FenceForProducts();
        __syncthreads();
        reader.NextTap();
        weights += Tile::kWeightBytes;
        if (weights == ring_end) weights = ring;
      }
      reader.Load((k + 1) % 4, a[(k + 1) % 2]);
    }
    if (++tap == kConvTaps) {
      tap = 0;
      ++chunk;
      next_halo = halo + (chunk % 2 == 0 ? Tile::kHaloBytes : 0);
    }
  }
  WaitProducts<0>();
#pragma unroll
  for (int m = 0; m < Tile::kFragmentsM; ++m) PinSums(sums[m]);
  WaitGroup<0>();
  __syncthreads();  // shared memory is free
  if constexpr (kStageEnd) {
    StoreStageEnd<Tile, T>(args, place, shared, sums);
  } else {
    StoreSums<Tile, T>(args, place, shared, sums);
  }
}

template <class T, bool kStageEnd>
ConvGemmKernel KernelOf(int tile) {
  switch (tile) {
    case 0:
      return KernelOfTile<ConvWgmmaTile0>(ConvGemmWgmma<ConvWgmmaTile0, T, kStageEnd>);
    case 1:
      return KernelOfTile<ConvWgmmaTile1>(ConvGemmWgmma<ConvWgmmaTile1, T, kStageEnd>);
    case 2:
      return KernelOfTile<ConvWgmmaTile2>(ConvGemmWgmma<ConvWgmmaTile2, T, kStageEnd>);
  }
  LSEG_FAIL("the implicit GEMM has no tile " << tile << " with wgmma");
}

template <class T>
ConvGemmKernel KernelOf(int tile, bool stage_end) {
  return stage_end ? KernelOf<T, true>(tile) : KernelOf<T, false>(tile);
}

}  // namespace

ConvGemmKernel ConvGemmKernelWgmma(DType dtype, int tile, bool stage_end) {
  switch (dtype) {
    case DType::kBF16:
      return KernelOf<__nv_bfloat16>(tile, stage_end);
    case DType::kF16:
      return KernelOf<__half>(tile, stage_end);
    case DType::kF32:
      return KernelOf<float>(tile, stage_end);
    default:
      LSEG_FAIL("the implicit GEMM takes bf16, f16 and f32, not " << ToString(dtype));
  }
}

}  // namespace lseg::cuda
