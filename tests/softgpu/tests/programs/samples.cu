// What people learn CUDA with: vector addition, matrix transpose, reduction, histogram. Each
// against a loop on the host.
#include <cstdint>
#include <vector>

#include "program.h"

namespace {

__global__ void AddVectors(const float* a, const float* b, float* sum, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i < n) sum[i] = a[i] + b[i];
}

constexpr int kTile = 32, kRows = 8;

// Through shared memory, with a column more than needed against bank conflicts.
__global__ void Transpose(const float* src, float* dst, int width, int height) {
  __shared__ float tile[kTile][kTile + 1];
  int x = blockIdx.x * kTile + threadIdx.x, y = blockIdx.y * kTile + threadIdx.y;
  for (int j = 0; j < kTile; j += kRows) {
    if (x < width && y + j < height) tile[threadIdx.y + j][threadIdx.x] = src[(y + j) * width + x];
  }
  __syncthreads();
  x = blockIdx.y * kTile + threadIdx.x;
  y = blockIdx.x * kTile + threadIdx.y;
  for (int j = 0; j < kTile; j += kRows) {
    if (x < height && y + j < width) dst[(y + j) * height + x] = tile[threadIdx.x][threadIdx.y + j];
  }
}

__global__ void Sum(const int* src, int* sum, int n) {
  __shared__ int parts[32];
  int value = 0;
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    value += src[i];
  }
  for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(~0u, value, offset);
  if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
  __syncthreads();
  if (threadIdx.x < 32) {
    value = threadIdx.x < blockDim.x / 32 ? parts[threadIdx.x] : 0;
    for (int offset = 16; offset > 0; offset /= 2) value += __shfl_down_sync(~0u, value, offset);
    if (threadIdx.x == 0) atomicAdd(sum, value);
  }
}

__global__ void Histogram(const uint8_t* src, unsigned* bins, int n) {
  __shared__ unsigned local[256];
  for (int i = threadIdx.x; i < 256; i += blockDim.x) local[i] = 0;
  __syncthreads();
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    atomicAdd(&local[src[i]], 1u);
  }
  __syncthreads();
  for (int i = threadIdx.x; i < 256; i += blockDim.x) atomicAdd(&bins[i], local[i]);
}

template <class T>
T* ToDevice(const std::vector<T>& host) {
  T* device = nullptr;
  OK(cudaMalloc(&device, host.size() * sizeof(T)));
  OK(cudaMemcpy(device, host.data(), host.size() * sizeof(T), cudaMemcpyHostToDevice));
  return device;
}

template <class T>
std::vector<T> ToHost(T* device, size_t n) {
  std::vector<T> host(n);
  OK(cudaMemcpy(host.data(), device, n * sizeof(T), cudaMemcpyDeviceToHost));
  OK(cudaFree(device));
  return host;
}

void TestAddVectors() {
  const int n = 5000;
  std::vector<float> a(n), b(n);
  for (int i = 0; i < n; ++i) {
    a[i] = static_cast<float>(i);
    b[i] = 0.5f * static_cast<float>(i % 7);
  }
  float *da = ToDevice(a), *db = ToDevice(b), *dsum = nullptr;
  OK(cudaMalloc(&dsum, n * sizeof(float)));
  AddVectors<<<(n + 255) / 256, 256>>>(da, db, dsum, n);
  OK(cudaGetLastError());
  const std::vector<float> sum = ToHost(dsum, n);
  for (int i = 0; i < n; ++i) CHECK(sum[i] == a[i] + b[i]);
  OK(cudaFree(da));
  OK(cudaFree(db));
}

void TestTranspose() {
  const int width = 75, height = 50;
  std::vector<float> src(width * height);
  for (size_t i = 0; i < src.size(); ++i) src[i] = static_cast<float>(i);
  float *dsrc = ToDevice(src), *ddst = nullptr;
  OK(cudaMalloc(&ddst, src.size() * sizeof(float)));
  const dim3 grid((width + kTile - 1) / kTile, (height + kTile - 1) / kTile);
  Transpose<<<grid, dim3(kTile, kRows)>>>(dsrc, ddst, width, height);
  OK(cudaGetLastError());
  const std::vector<float> dst = ToHost(ddst, src.size());
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) CHECK(dst[x * height + y] == src[y * width + x]);
  }
  OK(cudaFree(dsrc));
}

void TestSum() {
  const int n = 10000;
  std::vector<int> src(n);
  int want = 0;
  for (int i = 0; i < n; ++i) want += src[i] = i * 37 % 101 - 50;
  int *dsrc = ToDevice(src), *dsum = nullptr;
  OK(cudaMalloc(&dsum, sizeof(int)));
  OK(cudaMemset(dsum, 0, sizeof(int)));
  Sum<<<7, 256>>>(dsrc, dsum, n);
  OK(cudaGetLastError());
  CHECK(ToHost(dsum, 1)[0] == want);
  OK(cudaFree(dsrc));
}

void TestHistogram() {
  const int n = 10000;
  std::vector<uint8_t> src(n);
  std::vector<unsigned> want(256, 0);
  for (int i = 0; i < n; ++i) ++want[src[i] = static_cast<uint8_t>(i * i >> 5)];
  uint8_t* dsrc = ToDevice(src);
  unsigned* dbins = nullptr;
  OK(cudaMalloc(&dbins, 256 * sizeof(unsigned)));
  OK(cudaMemset(dbins, 0, 256 * sizeof(unsigned)));
  Histogram<<<5, 128>>>(dsrc, dbins, n);
  OK(cudaGetLastError());
  CHECK(ToHost(dbins, 256) == want);
  OK(cudaFree(dsrc));
}

}  // namespace

int main() {
  TestAddVectors();
  TestTranspose();
  TestSum();
  TestHistogram();
  return 0;
}
