// __device__, __constant__ and __managed__ variables, printf, and stream 0 as a thread's own: this
// program is built with --default-stream per-thread.
#include <thread>

#include "program.h"

namespace {

__device__ int counter = 5;
__device__ int table[8] = {1, 2, 3, 4, 5, 6, 7, 8};
__device__ const int* pointer = table + 2;
__constant__ float scale[2];
__managed__ int shared_value = 11;

__global__ void Use(float* dst) {
  if (threadIdx.x == 0) {
    dst[0] = scale[0] * static_cast<float>(*pointer);
    dst[1] = scale[1];
    shared_value += 1;
  }
  atomicAdd(&counter, 1);
}

__global__ void Say() { printf("block %d thread %d says %s\n", blockIdx.x, threadIdx.x, "hello"); }

void TestVariables() {
  CHECK(shared_value == 11);
  const float factors[2] = {2.5f, 7.0f};
  OK(cudaMemcpyToSymbol(scale, factors, sizeof(factors)));
  float* dst = nullptr;
  OK(cudaMalloc(&dst, 2 * sizeof(float)));
  Use<<<1, 64>>>(dst);
  float got[2];
  OK(cudaMemcpy(got, dst, sizeof(got), cudaMemcpyDeviceToHost));
  CHECK(got[0] == 7.5f && got[1] == 7.0f);
  CHECK(shared_value == 12);
  int count = 0;
  OK(cudaMemcpyFromSymbol(&count, counter, sizeof(count)));
  CHECK(count == 69);
  int part[2];
  OK(cudaMemcpyFromSymbol(part, table, sizeof(part), 3 * sizeof(int)));
  CHECK(part[0] == 4 && part[1] == 5);
  void* address = nullptr;
  size_t bytes = 0;
  OK(cudaGetSymbolAddress(&address, table));
  OK(cudaGetSymbolSize(&bytes, table));
  CHECK(bytes == 32);
  OK(cudaMemset(address, 0, bytes));
  OK(cudaMemcpyFromSymbolAsync(part, table, sizeof(part), 0, cudaMemcpyDeviceToHost, 0));
  CHECK(part[0] == 0);
  static int unknown;
  FAILS(cudaGetSymbolSize(&bytes, unknown), cudaErrorInvalidSymbol);
  OK(cudaFree(dst));
}

// Each thread's stream 0 is its own: what it waits for is its own work.
void TestOwnStreams() {
  std::thread threads[3];
  for (std::thread& thread : threads) {
    thread = std::thread([] {
      int *device = nullptr, host[100];
      OK(cudaMallocAsync(&device, sizeof(host), 0));
      Fill<<<1, 64>>>(device, 100, 8);
      OK(cudaMemcpyAsync(host, device, sizeof(host), cudaMemcpyDeviceToHost));
      OK(cudaFreeAsync(device, 0));
      OK(cudaStreamSynchronize(0));
      for (int value : host) CHECK(value == 8);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace

int main() {
  TestVariables();
  TestOwnStreams();
  Say<<<2, 1>>>();
  OK(cudaDeviceSynchronize());
  return 0;
}
