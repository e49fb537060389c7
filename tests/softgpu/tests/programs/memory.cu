// Allocation, copies and fills of every kind.
#include <cstdint>
#include <cstring>
#include <vector>

#include "program.h"

namespace {

std::vector<uint8_t> Pattern(size_t n, int seed) {
  std::vector<uint8_t> bytes(n);
  for (size_t i = 0; i < n; ++i) bytes[i] = static_cast<uint8_t>(i * 31 + seed);
  return bytes;
}

void TestLinear() {
  const std::vector<uint8_t> src = Pattern(1000, 1);
  uint8_t *a = nullptr, *b = nullptr;
  OK(cudaMalloc(&a, 1000));
  OK(cudaMalloc(&b, 1000));
  std::vector<uint8_t> dst(1000);
  OK(cudaMemcpy(a, src.data(), 1000, cudaMemcpyHostToDevice));
  OK(cudaMemcpy(b, a, 1000, cudaMemcpyDeviceToDevice));
  OK(cudaMemcpy(dst.data(), b, 1000, cudaMemcpyDefault));
  CHECK(dst == src);
  // Overlap within an allocation, byte offsets.
  OK(cudaMemset(a, 7, 500));
  OK(cudaMemcpy(a + 501, a, 499, cudaMemcpyDefault));
  OK(cudaMemcpy(dst.data(), a, 1000, cudaMemcpyDeviceToHost));
  CHECK(dst[0] == 7 && dst[499] == 7 && dst[500] == src[500] && dst[501] == 7 && dst[999] == 7);
  std::vector<uint8_t> other(1000);
  OK(cudaMemcpy(other.data(), src.data(), 1000, cudaMemcpyHostToHost));
  CHECK(other == src);
  OK(cudaMemcpy(nullptr, nullptr, 0, cudaMemcpyHostToDevice));
  OK(cudaFree(a));
  OK(cudaFree(b));
  OK(cudaFree(nullptr));
}

void TestPitched() {
  const size_t width = 70, height = 9;
  const std::vector<uint8_t> src = Pattern(width * height, 2);
  uint8_t* a = nullptr;
  size_t pitch = 0;
  OK(cudaMallocPitch(&a, &pitch, width, height));
  CHECK(pitch >= width && pitch % 256 == 0);
  OK(cudaMemcpy2D(a, pitch, src.data(), width, width, height, cudaMemcpyHostToDevice));
  std::vector<uint8_t> dst(width * height);
  OK(cudaMemcpy2D(dst.data(), width, a, pitch, width, height, cudaMemcpyDeviceToHost));
  CHECK(dst == src);
  OK(cudaMemset2D(a + 3, pitch, 9, 10, height));
  OK(cudaMemcpy2DAsync(dst.data(), width, a, pitch, width, height, cudaMemcpyDeviceToHost));
  for (size_t y = 0; y < height; ++y) {
    for (size_t x = 0; x < width; ++x) {
      CHECK(dst[y * width + x] == (x >= 3 && x < 13 ? 9 : src[y * width + x]));
    }
  }
  FAILS(cudaMemcpy2D(a, 10, src.data(), width, width, height, cudaMemcpyHostToDevice),
        cudaErrorInvalidPitchValue);
  OK(cudaFree(a));
}

void TestBoxes() {
  const size_t width = 20, height = 5, depth = 3;
  std::vector<uint8_t> src = Pattern(width * height * depth, 3), dst(src.size());
  cudaPitchedPtr box;
  OK(cudaMalloc3D(&box, make_cudaExtent(width, height, depth)));
  cudaMemcpy3DParms in = {};
  in.srcPtr = make_cudaPitchedPtr(src.data(), width, width, height);
  in.dstPtr = box;
  in.extent = make_cudaExtent(width, height, depth);
  in.kind = cudaMemcpyHostToDevice;
  OK(cudaMemcpy3D(&in));
  cudaMemcpy3DParms out = {};
  out.srcPtr = box;
  out.srcPos = make_cudaPos(4, 1, 1);
  out.dstPtr = make_cudaPitchedPtr(dst.data(), width, width, height);
  out.extent = make_cudaExtent(6, 2, 2);
  out.kind = cudaMemcpyDeviceToHost;
  OK(cudaMemcpy3D(&out));
  for (size_t z = 0; z < 2; ++z) {
    for (size_t y = 0; y < 2; ++y) {
      for (size_t x = 0; x < 6; ++x) {
        CHECK(dst[(z * height + y) * width + x] == src[((z + 1) * height + y + 1) * width + x + 4]);
      }
    }
  }
  OK(cudaMemset3D(box, 6, make_cudaExtent(2, height, depth)));
  OK(cudaMemcpy3D(&out));
  CHECK(dst[0] == src[(height + 1) * width + 4]);  // beside it
  out.srcPos = make_cudaPos(0, 1, 1);
  OK(cudaMemcpy3D(&out));
  CHECK(dst[1] == 6 && dst[(height + 1) * width + 1] == 6 &&
        dst[2] == src[(height + 1) * width + 2]);
  OK(cudaFree(box.ptr));
}

void TestPinned() {
  int *host = nullptr, *mapped = nullptr, *alias = nullptr;
  OK(cudaMallocHost(&host, 4000));
  OK(cudaHostAlloc(&mapped, 4000, cudaHostAllocMapped));
  OK(cudaHostGetDevicePointer(&alias, mapped, 0));
  Fill<<<4, 64>>>(alias, 1000, 42);
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 1000; ++i) CHECK(mapped[i] == 42);
  cudaPointerAttributes attributes;
  OK(cudaPointerGetAttributes(&attributes, host + 10));
  CHECK(attributes.type == cudaMemoryTypeHost);
  int* device = nullptr;
  OK(cudaMalloc(&device, 4000));
  OK(cudaPointerGetAttributes(&attributes, device));
  CHECK(attributes.type == cudaMemoryTypeDevice && attributes.devicePointer == device);
  for (int i = 0; i < 1000; ++i) host[i] = i;
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  // In stream order a buffer may be source, then destination.
  OK(cudaMemcpyAsync(device, host, 4000, cudaMemcpyHostToDevice, stream));
  Add<<<4, 64, 0, stream>>>(device, device, 1000);
  OK(cudaMemcpyAsync(host, device, 4000, cudaMemcpyDeviceToHost, stream));
  OK(cudaMemcpyAsync(host, device, 4000, cudaMemcpyDeviceToHost, stream));
  OK(cudaMemcpyAsync(device, host, 4000, cudaMemcpyHostToDevice, stream));
  OK(cudaStreamSynchronize(stream));
  for (int i = 0; i < 1000; ++i) CHECK(host[i] == 2 * i);
  std::vector<int> own(1000, 5);
  OK(cudaPointerGetAttributes(&attributes, own.data()));
  CHECK(attributes.type == cudaMemoryTypeUnregistered);
  OK(cudaHostRegister(own.data(), 4000, cudaHostRegisterDefault));
  FAILS(cudaHostRegister(own.data() + 1, 16, 0), cudaErrorHostMemoryAlreadyRegistered);
  OK(cudaMemcpyAsync(own.data(), device, 4000, cudaMemcpyDeviceToHost, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(own[999] == 1998);
  OK(cudaHostUnregister(own.data()));
  FAILS(cudaHostUnregister(own.data()), cudaErrorHostMemoryNotRegistered);
  OK(cudaStreamDestroy(stream));
  OK(cudaFreeHost(host));
  OK(cudaFreeHost(mapped));
  OK(cudaFree(device));
}

void TestManaged() {
  int* data = nullptr;
  OK(cudaMallocManaged(&data, 4000));
  for (int i = 0; i < 1000; ++i) data[i] = i;
  Add<<<4, 64>>>(data, data, 1000);
  OK(cudaDeviceSynchronize());
  for (int i = 0; i < 1000; ++i) CHECK(data[i] == 2 * i);
  cudaPointerAttributes attributes;
  OK(cudaPointerGetAttributes(&attributes, data));
  CHECK(attributes.type == cudaMemoryTypeManaged);
  OK(cudaMemset(data, 0, 4000));
  CHECK(data[999] == 0);
  OK(cudaFree(data));
}

void TestPools() {
  cudaStream_t stream;
  OK(cudaStreamCreate(&stream));
  cudaMemPool_t pool;
  OK(cudaDeviceGetDefaultMemPool(&pool, 0));
  uint64_t threshold = ~uint64_t{0};
  OK(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &threshold));
  int *a = nullptr, *b = nullptr;
  OK(cudaMallocAsync(&a, 400, stream));
  OK(cudaMallocFromPoolAsync(&b, 400, pool, stream));
  Fill<<<1, 64, 0, stream>>>(a, 100, 3);
  OK(cudaMemsetAsync(b, 0, 400, stream));
  Add<<<1, 64, 0, stream>>>(b, a, 100);
  OK(cudaFreeAsync(a, stream));
  std::vector<int> got(100);
  OK(cudaMemcpyAsync(got.data(), b, 400, cudaMemcpyDeviceToHost, stream));
  for (int value : got) CHECK(value == 3);
  OK(cudaFreeAsync(b, stream));
  OK(cudaStreamSynchronize(stream));
  OK(cudaStreamDestroy(stream));
}

void TestLimits() {
  size_t free = 0, total = 0, after = 0;
  OK(cudaMemGetInfo(&free, &total));
  void* block = nullptr;
  FAILS(cudaMalloc(&block, total + 1), cudaErrorMemoryAllocation);
  CHECK(block == nullptr);
  OK(cudaMalloc(&block, 1 << 20));
  OK(cudaMemGetInfo(&after, &total));
  CHECK(free - after == 1 << 20);
  OK(cudaFree(block));
}

}  // namespace

int main() {
  TestLinear();
  TestPitched();
  TestBoxes();
  TestPinned();
  TestManaged();
  TestPools();
  TestLimits();
  return 0;
}
