// Stream-ordered allocation. Pools are names: their memory is the device's. It is there when the
// call returns, and goes when the stream gets to the free.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/runtime.h"

struct CUmemPoolHandle_st {
  uint64_t release_threshold = 0;
};

namespace {

using softgpu::CallSite;
using softgpu::Runtime;

cudaMemPool_t DefaultPool() {
  static CUmemPoolHandle_st pool;
  return &pool;
}

cudaError_t GivePool(cudaMemPool_t* pool, int device) {
  if (pool == nullptr) return cudaErrorInvalidValue;
  if (device != 0) return cudaErrorInvalidDevice;
  *pool = DefaultPool();
  return cudaSuccess;
}

cudaError_t AllocateAsync(Runtime& runtime, void** pointer, size_t bytes, cudaStream_t stream,
                          const CallSite& site) {
  if (pointer == nullptr) return cudaErrorInvalidValue;
  *pointer = nullptr;
  cudaStream_t found = runtime.streams.Find(stream);
  if (found == nullptr) return cudaErrorInvalidResourceHandle;
  if (found->capture) {
    found->capture->invalid = true;
    return softgpu::NotSupported(site.call, "in a captured stream");
  }
  if (bytes == 0) return cudaSuccess;
  const std::string label =
      std::string(site.call) + " #" + std::to_string(++runtime.allocations_made);
  const uint64_t address = runtime.memory().Allocate(bytes, label);
  if (address == 0) return cudaErrorMemoryAllocation;
  runtime.allocation_sites[address] = site;
  *pointer = reinterpret_cast<void*>(address);
  return softgpu::Submit(runtime, stream, softgpu::NoWork{}, site);
}

}  // namespace

extern "C" {

cudaError_t cudaMallocAsync(void** pointer, size_t bytes, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return AllocateAsync(runtime, pointer, bytes, stream, site);
  });
}

cudaError_t cudaMallocFromPoolAsync(void** pointer, size_t bytes, cudaMemPool_t,
                                    cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return AllocateAsync(runtime, pointer, bytes, stream, site);
  });
}

cudaError_t cudaFreeAsync(void* pointer, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (pointer == nullptr) return cudaSuccess;
    const auto address = static_cast<uint64_t>(reinterpret_cast<uintptr_t>(pointer));
    const bool known = runtime.allocation_sites.count(address) != 0;
    if (!known || !runtime.freed_async.insert(address).second) {
      runtime.Report(softgpu::Check::kDoubleFree, site,
                     (known ? "freed before: " : "not the start of a living allocation: ") +
                         runtime.memory().Describe(address));
      return cudaErrorInvalidValue;
    }
    return softgpu::Submit(runtime, stream, softgpu::FreeWork{address}, site);
  });
}

cudaError_t cudaDeviceGetDefaultMemPool(cudaMemPool_t* pool, int device) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) { return GivePool(pool, device); });
}

cudaError_t cudaDeviceGetMemPool(cudaMemPool_t* pool, int device) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) { return GivePool(pool, device); });
}

cudaError_t cudaDeviceSetMemPool(int device, cudaMemPool_t pool) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (device != 0) return cudaErrorInvalidDevice;
    return pool == DefaultPool() ? cudaSuccess
                                 : softgpu::NotSupported("cudaDeviceSetMemPool", "other pools");
  });
}

cudaError_t cudaMemPoolCreate(cudaMemPool_t* pool, const cudaMemPoolProps*) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *pool = new CUmemPoolHandle_st;
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolDestroy(cudaMemPool_t pool) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (pool == nullptr || pool == DefaultPool()) return cudaErrorInvalidValue;
    delete pool;
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolTrimTo(cudaMemPool_t, size_t) {
  return SOFTGPU_CALL([](Runtime&, const CallSite&) { return cudaSuccess; });
}

cudaError_t cudaMemPoolSetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (attribute == cudaMemPoolAttrReleaseThreshold) {
      pool->release_threshold = *static_cast<uint64_t*>(value);
    }
    return cudaSuccess;
  });
}

cudaError_t cudaMemPoolGetAttribute(cudaMemPool_t pool, cudaMemPoolAttr attribute, void* value) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    switch (attribute) {
      case cudaMemPoolAttrReleaseThreshold:
        *static_cast<uint64_t*>(value) = pool->release_threshold;
        return cudaSuccess;
      case cudaMemPoolAttrReservedMemCurrent:
      case cudaMemPoolAttrReservedMemHigh:
      case cudaMemPoolAttrUsedMemCurrent:
      case cudaMemPoolAttrUsedMemHigh:
        *static_cast<uint64_t*>(value) = runtime.memory().used();
        return cudaSuccess;
      default:
        *static_cast<int*>(value) = 1;
        return cudaSuccess;
    }
  });
}

}  // extern "C"
