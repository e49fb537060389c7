// For the programs that the runtime's tests run: one that meets an error or a wrong value says
// where and ends with code 1, so that code 86 is left to softgpu's findings.
#pragma once

#include <cuda_runtime.h>

#include <cstdio>
#include <cstdlib>

// The call succeeds.
#define OK(call) Expect((call), cudaSuccess, #call, __LINE__)
// The call fails with this error, which is then cleared.
#define FAILS(call, error)                  \
  do {                                      \
    Expect((call), error, #call, __LINE__); \
    cudaGetLastError();                     \
  } while (0)
#define CHECK(condition)                                          \
  do {                                                            \
    if (!(condition)) {                                           \
      std::printf("line %d: not so: %s\n", __LINE__, #condition); \
      std::exit(1);                                               \
    }                                                             \
  } while (0)

inline void Expect(cudaError_t got, cudaError_t want, const char* call, int line) {
  if (got == want) return;
  std::printf("line %d: %s gave %s, not %s\n", line, call, cudaGetErrorName(got),
              cudaGetErrorName(want));
  std::exit(1);
}

// Takes long enough, in instructions, that an early reader would notice.
static __global__ void Fill(int* dst, int n, int value) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    dst[i] = value;
  }
}

static __global__ void Add(int* dst, const int* src, int n) {
  for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) {
    dst[i] += src[i];
  }
}
