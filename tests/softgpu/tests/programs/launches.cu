// Launches of every kind, what can be asked about a kernel, and how errors are remembered.
#include <cooperative_groups.h>

#include <cassert>
#include <cstring>

#include "program.h"

namespace {

__global__ void Reverse(int* data, int n) {
  extern __shared__ int copy[];
  for (int i = threadIdx.x; i < n; i += blockDim.x) copy[i] = data[i];
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) data[i] = copy[n - 1 - i];
}

__global__ void __launch_bounds__(128) Bounded(int* data) { data[threadIdx.x] = 1; }

__device__ unsigned arrived;

// Every block reads what all blocks wrote before they met: they have to be there at once.
__global__ void GridSum(int* parts, int* sums) {
  if (threadIdx.x == 0) parts[blockIdx.x] = static_cast<int>(blockIdx.x) + 1;
  if (threadIdx.x == 0) {
    __threadfence();
    atomicAdd(&arrived, 1u);
    while (atomicAdd(&arrived, 0u) < gridDim.x) {
    }
    __threadfence();
  }
  __syncthreads();
  // Once more, with the grid's own barrier.
  cooperative_groups::this_grid().sync();
  if (threadIdx.x == 0) {
    int sum = 0;
    for (unsigned i = 0; i < gridDim.x; ++i) sum += parts[i];
    sums[blockIdx.x] = sum;
  }
}

__global__ void Assert(int* data) { assert(data == nullptr); }

void TestDynamicShared(int* data) {
  const int n = 20000;  // 80000 bytes
  const size_t bytes = n * sizeof(int);
  Reverse<<<1, 256, bytes>>>(data, n);
  FAILS(cudaGetLastError(), cudaErrorInvalidValue);
  OK(cudaFuncSetAttribute(Reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, bytes));
  FAILS(cudaFuncSetAttribute(Reverse, cudaFuncAttributeMaxDynamicSharedMemorySize, 1 << 20),
        cudaErrorInvalidValue);
  cudaFuncAttributes attributes;
  OK(cudaFuncGetAttributes(&attributes, Reverse));
  CHECK(attributes.maxDynamicSharedSizeBytes == static_cast<int>(bytes));
  CHECK(attributes.maxThreadsPerBlock == 1024);
  int* host = new int[n];
  for (int i = 0; i < n; ++i) host[i] = i;
  OK(cudaMemcpy(data, host, bytes, cudaMemcpyHostToDevice));
  Reverse<<<1, 256, bytes>>>(data, n);
  OK(cudaMemcpy(host, data, bytes, cudaMemcpyDeviceToHost));
  for (int i = 0; i < n; ++i) CHECK(host[i] == n - 1 - i);
  delete[] host;
}

void TestWays(int* data) {
  int n = 64, value = 3, host[64];
  void* args[] = {&data, &n, &value};
  OK(cudaLaunchKernel(reinterpret_cast<void*>(Fill), dim3(1), dim3(64), args, 0, nullptr));
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(2);
  config.blockDim = dim3(32);
  cudaLaunchAttribute attribute = {};
  attribute.id = cudaLaunchAttributeClusterDimension;
  attribute.val.clusterDim.x = attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
  config.attrs = &attribute;
  config.numAttrs = 1;
  OK(cudaLaunchKernelEx(&config, Add, data, static_cast<const int*>(data), n));
  OK(cudaMemcpy(host, data, sizeof(host), cudaMemcpyDeviceToHost));
  for (int v : host) CHECK(v == 6);
  attribute.val.clusterDim.x = 2;
  FAILS(cudaLaunchKernelEx(&config, Add, data, static_cast<const int*>(data), n),
        cudaErrorNotSupported);
}

void TestCooperative(int* data) {
  int *parts = data, *sums = data + 100, host[20];
  void* args[] = {&parts, &sums};
  OK(cudaLaunchCooperativeKernel(reinterpret_cast<void*>(GridSum), dim3(20), dim3(64), args, 0,
                                 nullptr));
  OK(cudaMemcpy(host, sums, sizeof(host), cudaMemcpyDeviceToHost));
  for (int sum : host) CHECK(sum == 210);
}

void TestOccupancy() {
  int blocks = 0, grid = 0, block = 0;
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, Fill, 1024, 0));
  CHECK(blocks == 2);
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, Fill, 64, 0));
  CHECK(blocks == 32);
  OK(cudaOccupancyMaxActiveBlocksPerMultiprocessor(&blocks, Reverse, 64, 80000));
  CHECK(blocks == 2);
  OK(cudaOccupancyMaxPotentialBlockSize(&grid, &block, Bounded));
  CHECK(block == 128);
  OK(cudaOccupancyMaxPotentialBlockSize(&grid, &block, Fill));
  CHECK(block == 1024);
}

void TestDevice() {
  int count = 0, value = 0;
  OK(cudaGetDeviceCount(&count));
  CHECK(count == 1);
  OK(cudaSetDevice(0));
  FAILS(cudaSetDevice(1), cudaErrorInvalidDevice);
  cudaDeviceProp properties;
  OK(cudaGetDeviceProperties(&properties, 0));
  CHECK(std::strcmp(properties.name, "softgpu") == 0);
  OK(cudaDeviceGetAttribute(&value, cudaDevAttrMultiProcessorCount, 0));
  CHECK(value == properties.multiProcessorCount && value == (properties.major == 9 ? 132 : 108));
  OK(cudaDeviceGetAttribute(&value, cudaDevAttrMaxSharedMemoryPerBlockOptin, 0));
  CHECK(value == (properties.major == 9 ? 227 : 163) * 1024);
  OK(cudaDriverGetVersion(&value));
  CHECK(value >= 13000);
}

// What goes wrong at the call is forgotten when it was asked for; a kernel's fault never is.
void TestErrors(int* data) {
  Fill<<<0, 64>>>(data, 1, 1);
  CHECK(cudaPeekAtLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaErrorInvalidConfiguration);
  CHECK(cudaGetLastError() == cudaSuccess);
  Bounded<<<1, 256>>>(data);
  CHECK(cudaGetLastError() == cudaErrorLaunchOutOfResources);
  OK(cudaDeviceSynchronize());
  CHECK(std::strcmp(cudaGetErrorName(cudaErrorNotReady), "cudaErrorNotReady") == 0);
  CHECK(std::strcmp(cudaGetErrorString(cudaSuccess), "no error") == 0);
  cudaArray_t array;
  const cudaChannelFormatDesc format = cudaCreateChannelDesc<float>();
  FAILS(cudaMallocArray(&array, &format, 4, 4), cudaErrorNotSupported);
  Assert<<<1, 1>>>(data);
  OK(cudaGetLastError());  // not yet
  CHECK(cudaDeviceSynchronize() == cudaErrorAssert);
  CHECK(cudaGetLastError() == cudaErrorAssert);
  CHECK(cudaGetLastError() == cudaErrorAssert);
  CHECK(cudaMemset(data, 0, 4) == cudaErrorAssert);
  OK(cudaDeviceReset());
  int* fresh = nullptr;
  OK(cudaMalloc(&fresh, 4));
  Fill<<<1, 1>>>(fresh, 1, 1);
  OK(cudaDeviceSynchronize());
  OK(cudaFree(fresh));
}

}  // namespace

// Its faults on purpose are switched off by the test: launch, assert, leak.
int main() {
  int* data = nullptr;
  OK(cudaMalloc(&data, 80000));
  TestDynamicShared(data);
  TestWays(data);
  TestCooperative(data);
  TestOccupancy();
  TestDevice();
  TestErrors(data);
  return 0;
}
