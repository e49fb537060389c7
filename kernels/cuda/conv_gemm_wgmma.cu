// The implicit GEMM on Hopper's tensor cores (wgmma, sm_90a): patches, halos, packed weights and
// stores are those of conv_gemm.cuh. What differs is who multiplies: four warps issue a product of
// 64 pixels and all outputs of the tile together, which runs while they go on. The weights are read
// from shared memory by the tensor cores themselves, the pixels from registers, where the taps'
// shifts cost nothing; a warp's pixels and sums lie as with mma.sync.
//
// A warp reads the pixels of the next k step while the products of this one run, which it waits for
// one k step later. One thread has the weights copied, a tap at once, into a ring of kSlots
// buffers; a barrier a buffer tells that they have come, another one that all warps are done with
// them. So the warpgroups meet once a chunk only, where the halos change places.
#include "kernels/cuda/conv_gemm_copy.cuh"
#include "kernels/cuda/conv_gemm_kernel.h"
#include "kernels/cuda/conv_gemm_pixels.cuh"
#include "kernels/cuda/conv_gemm_stage_end.cuh"
#include "kernels/cuda/conv_gemm_store.cuh"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/ptx_sm90a.cuh"
#include "kernels/cuda/wgmma.cuh"
#include "kernels/runtime/check.h"

namespace lseg::cuda {
namespace {

// The ring of weights, tap after tap of all chunks.
template <class Tile>
class WeightRing {
 public:
  __device__ WeightRing(const ConvGemmArgs& args, const ConvGemmPlace& place, uint32_t buffers,
                        uint32_t barriers)
      : from_(static_cast<const char*>(args.weight) +
              int64_t{place.output_tile} * Tile::kWeightBytes),
        tap_bytes_(int64_t{args.output_tiles} * Tile::kWeightBytes),
        taps_(args.chunks * kConvTaps),
        buffers_(buffers),
        full_(barriers),
        empty_(barriers + Tile::kSlots * 8) {}

  // By one thread, with a barrier of the block before the others go on.
  __device__ void Start() const {
    for (int slot = 0; slot < Tile::kSlots; ++slot) {
      InitBarrier(full_ + slot * 8, 1);
      InitBarrier(empty_ + slot * 8, Tile::kWarpsM);
    }
    FenceForCopies();
    for (int tap = 0; tap < Tile::kAhead; ++tap) Copy(tap);
  }
  // By the same thread, during `tap`: the weights of the tap kAhead later, when all warps are done
  // with the tap kSlots before that one.
  __device__ void CopyAhead(int tap) const {
    const int next = tap + Tile::kAhead;
    if (next >= taps_) return;
    if (next >= Tile::kSlots) {
      WaitBarrier(empty_ + next % Tile::kSlots * 8, next / Tile::kSlots - 1 & 1);
    }
    Copy(next);
  }
  __device__ uint32_t WaitFor(int tap) const {
    WaitBarrier(full_ + tap % Tile::kSlots * 8, tap / Tile::kSlots & 1);
    return buffers_ + tap % Tile::kSlots * Tile::kWeightBytes;
  }
  // By one lane of every warp.
  __device__ void Release(int tap) const { Arrive(empty_ + tap % Tile::kSlots * 8); }

 private:
  __device__ void Copy(int tap) const {
    const uint32_t slot = tap % Tile::kSlots;
    ArriveAndExpect(full_ + slot * 8, Tile::kWeightBytes);
    CopyBulk(buffers_ + slot * Tile::kWeightBytes, from_ + tap * tap_bytes_, Tile::kWeightBytes,
             full_ + slot * 8);
  }

  const char* from_;
  int64_t tap_bytes_;
  int taps_;
  uint32_t buffers_, full_, empty_;
};

template <class Tile, class T, bool kStageEnd>
__global__ void __launch_bounds__(Tile::kThreads, Tile::kBlocks)
    ConvGemmWgmma(const ConvGemmArgs args) {
  extern __shared__ __align__(1024) uint8_t shared[];
  const int halos = args.chunks > 1 ? 2 : 1, steps = args.chunks * kConvTaps;
  const uint32_t weights = SharedAddress(shared);  // a multiple of 1024, for their swizzle
  const uint32_t halo = weights + Tile::kSlots * Tile::kWeightBytes;
  const uint32_t barriers = halo + halos * Tile::kHaloBytes;
  int2* table = reinterpret_cast<int2*>(shared + (barriers - weights) + Tile::kSlots * 2 * 8);
  const ConvGemmPlace place = PlaceOfBlock<Tile>(args);
  const WeightRing<Tile> ring(args, place, weights, barriers);
  if (threadIdx.x == 0) ring.Start();
  HaloCopy<Tile> halo_copy(args, place, sizeof(T), table);
  __syncthreads();  // the table and the ring

  for (int pass = 0; pass < Tile::kHaloPasses; ++pass) halo_copy.Pass(pass, halo, true);
  CommitGroup();
  float sums[Tile::kFragmentsM][Tile::kFragmentsN][4];
  StartFromBias<Tile>(args, place, sums);
  PixelReader<Tile> reader(halo, halos);
  uint32_t a[2][Tile::kFragmentsM][4];
  WaitGroup<0>();
  __syncthreads();
  reader.Load(0, a[0]);

  int tap = 0, chunk = 0;
  uint32_t next_halo = halo + Tile::kHaloBytes;
#pragma unroll 1
  for (int step = 0; step < steps; ++step) {
    if (tap == 0) halo_copy.NextChunk();
    const uint32_t buffer = ring.WaitFor(step);
    __syncwarp();  // each lane has waited by itself
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      WarpgroupFence();
#pragma unroll
      for (int m = 0; m < Tile::kFragmentsM; ++m) {
        Product<T>(sums[m], a[k % 2][m], SwizzledRows(buffer + k * 32));
      }
      CommitProducts();
      WaitProducts<1>();  // those of the step before are done with their pixels and weights
      if (k == 0) {
        __syncwarp();  // that is, all lanes have seen it
        if (step > 0 && threadIdx.x % 32 == 0) ring.Release(step - 1);
        if (threadIdx.x == 0) ring.CopyAhead(step);
        __syncwarp();  // products are issued by all lanes together
      }
      CopyNextHalo(args, k, tap, chunk, halo_copy, next_halo);
      if (k == 3) {
        if (++tap == kConvTaps) {  // the next halo has arrived, and everybody is done with this one
          tap = 0;
          ++chunk;
          next_halo = halo + (chunk % 2 == 0 ? Tile::kHaloBytes : 0);
          CommitGroup();
          WaitGroup<0>();
          __syncthreads();
        }
        reader.NextTap();
      }
      reader.Load((k + 1) % 4, a[(k + 1) % 2]);
    }
  }
  WaitProducts<0>();
#pragma unroll
  for (int m = 0; m < Tile::kFragmentsM; ++m) PinSums(sums[m]);
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
