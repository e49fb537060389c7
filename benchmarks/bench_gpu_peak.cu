// Random data where it is needed, and the ceiling of mma.sync: products whose operands stay in
// registers, in independent chains long enough to fill the pipeline.
#include "benchmarks/bench_gpu_peak.h"
#include "kernels/cuda/element.cuh"
#include "kernels/cuda/launch.h"
#include "kernels/cuda/mma.cuh"
#include "kernels/runtime/integers.h"

namespace lseg {
namespace {

// A bijection of 32 bits whose outputs look unrelated (Wellons' lowbias32).
__device__ uint32_t Mix(uint32_t x) {
  x = (x ^ (x >> 16)) * 0x7feb352d;
  x = (x ^ (x >> 15)) * 0x846ca68b;
  return x ^ (x >> 16);
}

__device__ float Uniform(uint32_t bits) { return static_cast<float>(bits >> 8) * 0x1p-24f; }

template <class T>
__global__ void FillFloats(T* memory, int64_t count, float low, float high, uint32_t seed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    const float value = low + (high - low) * Uniform(Mix(static_cast<uint32_t>(i) + seed));
    memory[i] = cuda::FromFloat<T>(value);
  }
}

__global__ void FillLabels(uint8_t* memory, int64_t count, uint32_t high, uint32_t seed) {
  const int64_t step = int64_t{gridDim.x} * blockDim.x;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < count; i += step) {
    const uint32_t bits = Mix(static_cast<uint32_t>(i) + seed);
    memory[i] = bits % 64 == 0 ? 1 + (bits >> 8) % high : 0;
  }
}

constexpr int kChains = 16, kPeakThreads = 256;

// Two rows of operands against eight columns: 16 products that wait for none but their own last.
template <class T>
__global__ void __launch_bounds__(kPeakThreads) MatrixProducts(int rounds, float* scratch) {
  uint32_t a[2][4], b[8][2];
  const uint32_t thread = blockIdx.x * blockDim.x + threadIdx.x;
  // Two bf16 in (-2, -1) or (1, 2), or one such f32: the exponent is set, the rest is random.
  constexpr uint32_t kKeep = sizeof(T) == 2 ? 0x807f807f : 0x807fe000;
  constexpr uint32_t kOne = sizeof(T) == 2 ? 0x3f803f80 : 0x3f800000;
#pragma unroll
  for (int i = 0; i < 8; ++i) a[i / 4][i % 4] = (Mix(thread * 32 + i) & kKeep) | kOne;
#pragma unroll
  for (int i = 0; i < 16; ++i) b[i / 2][i % 2] = (Mix(thread * 32 + 8 + i) & kKeep) | kOne;
  float sums[kChains][4] = {};
  for (int round = 0; round < rounds; ++round) {
#pragma unroll
    for (int i = 0; i < kChains; ++i) {
      cuda::Mma<T>::Run(sums[i], a[i / 8], b[i % 8][0], b[i % 8][1]);
    }
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < kChains * 4; ++i) sum += sums[i / 4][i % 4];
  if (sum == 0.123f) *scratch = sum;  // keeps the products; never so
}

}  // namespace

void FillRandom(Context& context, void* memory, int64_t count, DType dtype, float low, float high,
                uint32_t seed) {
  const unsigned blocks = cuda::GridFor(context, count, 256);
  const cudaStream_t stream = cuda::StreamOf(context);
  if (dtype == DType::kU8) {
    FillLabels<<<blocks, 256, 0, stream>>>(static_cast<uint8_t*>(memory), count,
                                           static_cast<uint32_t>(high), seed);
  } else {
    cuda::WithElementType(dtype, [&](auto element) {
      using T = decltype(element);
      FillFloats<T><<<blocks, 256, 0, stream>>>(static_cast<T*>(memory), count, low, high, seed);
    });
  }
  cuda::CheckLaunch("FillRandom");
}

double QueueMatrixProducts(Context& context, DType dtype, int rounds, float* scratch) {
  const unsigned blocks = static_cast<unsigned>(cuda::Multiprocessors(context)) * 2;
  const cudaStream_t stream = cuda::StreamOf(context);
  const bool tf32 = dtype == DType::kF32;
  if (tf32) {
    MatrixProducts<float><<<blocks, kPeakThreads, 0, stream>>>(rounds, scratch);
  } else {
    MatrixProducts<__nv_bfloat16><<<blocks, kPeakThreads, 0, stream>>>(rounds, scratch);
  }
  cuda::CheckLaunch("MatrixProducts");
  const double depth = tf32 ? cuda::Mma<float>::kDepth : cuda::Mma<__nv_bfloat16>::kDepth;
  return 2.0 * 16 * 8 * depth * kChains * rounds * blocks * (kPeakThreads / 32.0);
}

}  // namespace lseg
