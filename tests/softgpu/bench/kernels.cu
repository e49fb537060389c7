// What softgpu_bench runs: kernels as people write them, bound by global memory, by shared memory
// and by tensor cores. kernels.ptx beside it is this file as nvcc 13.0 compiles it for compute_80,
// for machines without nvcc.
#include <cstdint>

extern "C" __global__ void saxpy(int n, float a, const float* x, float* y) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) y[i] = a * x[i] + y[i];
}

// c = a * b, n x n row by row, n a multiple of 32; a block is a tile of 32 x 32.
extern "C" __global__ void tiled_product(int n, const float* a, const float* b, float* c) {
  constexpr int kTile = 32;
  __shared__ float a_tile[kTile][kTile], b_tile[kTile][kTile];
  const int row = blockIdx.y * kTile + threadIdx.y, column = blockIdx.x * kTile + threadIdx.x;
  float sum = 0;
  for (int k = 0; k < n; k += kTile) {
    a_tile[threadIdx.y][threadIdx.x] = a[row * n + k + threadIdx.x];
    b_tile[threadIdx.y][threadIdx.x] = b[(k + threadIdx.y) * n + column];
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kTile; ++j) sum += a_tile[threadIdx.y][j] * b_tile[j][threadIdx.x];
    __syncthreads();
  }
  c[row * n + column] = sum;
}

namespace {

__device__ void LoadMatrices(uint32_t (&d)[4], const void* shared) {
  const uint32_t address = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
               : "=r"(d[0]), "=r"(d[1]), "=r"(d[2]), "=r"(d[3])
               : "r"(address)
               : "memory");
}

__device__ void MultiplyAdd(float (&d)[4], const uint32_t (&a)[4], uint32_t b0, uint32_t b1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

}  // namespace

// c = a * b^T in bfloat16, sums in float: a and b n x n row by row, n a multiple of 64. A block of
// four warps makes a tile of 64 x 64, each warp 32 x 32 of it. Rows are 8 elements longer in shared
// memory, so that ldmatrix meets no bank twice.
extern "C" __global__ void mma_product(int n, const uint16_t* a, const uint16_t* b, float* c) {
  constexpr int kTile = 64, kDepth = 32, kRow = kDepth + 8;
  __shared__ __align__(16) uint16_t a_tile[kTile][kRow], b_tile[kTile][kRow];
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  const int row = warp / 2 * 32, column = warp % 2 * 32;
  float sum[2][4][4] = {};
  for (int k = 0; k < n; k += kDepth) {
    for (int i = threadIdx.x; i < kTile * kDepth / 8; i += blockDim.x) {
      const int r = i / (kDepth / 8), at = i % (kDepth / 8) * 8;
      *reinterpret_cast<uint4*>(&a_tile[r][at]) =
          *reinterpret_cast<const uint4*>(&a[(blockIdx.y * kTile + r) * n + k + at]);
      *reinterpret_cast<uint4*>(&b_tile[r][at]) =
          *reinterpret_cast<const uint4*>(&b[(blockIdx.x * kTile + r) * n + k + at]);
    }
    __syncthreads();
#pragma unroll
    for (int j = 0; j < kDepth; j += 16) {
      uint32_t fa[2][4], fb[2][4];
      for (int m = 0; m < 2; ++m) {
        LoadMatrices(fa[m], &a_tile[row + 16 * m + lane % 16][j + lane / 16 * 8]);
        LoadMatrices(fb[m], &b_tile[column + 16 * m + lane % 16][j + lane / 16 * 8]);
      }
      for (int m = 0; m < 2; ++m) {
        for (int q = 0; q < 4; ++q) {
          MultiplyAdd(sum[m][q], fa[m], fb[q / 2][q % 2], fb[q / 2][2 + q % 2]);
        }
      }
    }
    __syncthreads();
  }
  for (int m = 0; m < 2; ++m) {
    for (int q = 0; q < 4; ++q) {
      float* const to = &c[(blockIdx.y * kTile + row + 16 * m + lane / 4) * n +
                           blockIdx.x * kTile + column + 8 * q + lane % 4 * 2];
      *reinterpret_cast<float2*>(to) = make_float2(sum[m][q][0], sum[m][q][1]);
      *reinterpret_cast<float2*>(to + 8 * n) = make_float2(sum[m][q][2], sum[m][q][3]);
    }
  }
}
