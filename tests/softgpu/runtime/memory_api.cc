// Allocation on the device and of pinned and managed host memory.
#include <cuda_runtime_api.h>

#include <cstdlib>
#include <cstring>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/runtime.h"

namespace softgpu {
namespace {

constexpr size_t kPage = 4096;
constexpr size_t kPitch = 512;

uint64_t Address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }
size_t RoundUp(size_t value, size_t to) { return (value + to - 1) / to * to; }

cudaError_t Allocate(Runtime& runtime, void** pointer, size_t bytes, const CallSite& site) {
  if (pointer == nullptr) return cudaErrorInvalidValue;
  *pointer = nullptr;
  const cudaError_t error = UnsafeInCapture(runtime);
  if (error != cudaSuccess || bytes == 0) return error;
  const std::string label =
      std::string(site.call) + " #" + std::to_string(++runtime.allocations_made);
  const uint64_t address = runtime.memory().Allocate(bytes, label);
  if (address == 0) return cudaErrorMemoryAllocation;
  runtime.allocation_sites[address] = site;
  *pointer = reinterpret_cast<void*>(address);
  return cudaSuccess;
}

cudaError_t AllocateHost(Runtime& runtime, void** pointer, size_t bytes, unsigned flags,
                         const CallSite& site) {
  if (pointer == nullptr) return cudaErrorInvalidValue;
  *pointer = nullptr;
  const cudaError_t error = UnsafeInCapture(runtime);
  if (error != cudaSuccess || bytes == 0) return error;
  void* block = std::aligned_alloc(kPage, RoundUp(bytes, kPage));
  if (block == nullptr) return cudaErrorMemoryAllocation;
  const std::string label =
      std::string(site.call) + " #" + std::to_string(++runtime.allocations_made);
  runtime.memory().AddHost(block, bytes, label);
  runtime.host_blocks[Address(block)] = {site, label, bytes, flags, true};
  *pointer = block;
  return cudaSuccess;
}

// Frees a block of host memory that is ours; all queued work is done first, as on a GPU.
void FreeBlock(Runtime& runtime, void* block) {
  runtime.streams.WaitAll(runtime);
  runtime.memory().RemoveHost(block);
  runtime.host_blocks.erase(Address(block));
  runtime.managed.erase(Address(block));
  std::free(block);
}

cudaError_t ReportBadFree(Runtime& runtime, const void* pointer, const CallSite& site,
                          bool freed_before) {
  runtime.Report(Check::kDoubleFree, site,
                 (freed_before ? "freed before: " : "not the start of an allocation: ") +
                     runtime.memory().Describe(Address(pointer)));
  return cudaErrorInvalidValue;
}

cudaError_t FreeDevice(Runtime& runtime, void* pointer, const CallSite& site) {
  if (pointer == nullptr) return cudaSuccess;
  const cudaError_t error = UnsafeInCapture(runtime);
  if (error != cudaSuccess) return error;
  if (runtime.managed.count(Address(pointer))) {
    FreeBlock(runtime, pointer);
    return cudaSuccess;
  }
  runtime.streams.WaitAll(runtime);
  const auto result = runtime.memory().Free(Address(pointer));
  if (result != DeviceMemory::FreeResult::kOk) {
    return ReportBadFree(runtime, pointer, site, result == DeviceMemory::FreeResult::kAlreadyFreed);
  }
  runtime.allocation_sites.erase(Address(pointer));
  return cudaSuccess;
}

}  // namespace
}  // namespace softgpu

using softgpu::CallSite;
using softgpu::Runtime;

extern "C" {

cudaError_t cudaMalloc(void** pointer, size_t bytes) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Allocate(runtime, pointer, bytes, site);
  });
}

cudaError_t cudaMallocPitch(void** pointer, size_t* pitch, size_t width, size_t height) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (pitch == nullptr) return cudaErrorInvalidValue;
    *pitch = softgpu::RoundUp(width, softgpu::kPitch);
    return softgpu::Allocate(runtime, pointer, *pitch * height, site);
  });
}

cudaError_t cudaMalloc3D(cudaPitchedPtr* pitched, cudaExtent extent) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (pitched == nullptr) return cudaErrorInvalidValue;
    pitched->pitch = softgpu::RoundUp(extent.width, softgpu::kPitch);
    pitched->xsize = extent.width;
    pitched->ysize = extent.height;
    return softgpu::Allocate(runtime, &pitched->ptr, pitched->pitch * extent.height * extent.depth,
                             site);
  });
}

cudaError_t cudaFree(void* pointer) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::FreeDevice(runtime, pointer, site);
  });
}

cudaError_t cudaMallocHost(void** pointer, size_t bytes) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::AllocateHost(runtime, pointer, bytes, cudaHostAllocDefault, site);
  });
}

cudaError_t cudaHostAlloc(void** pointer, size_t bytes, unsigned flags) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::AllocateHost(runtime, pointer, bytes, flags, site);
  });
}

cudaError_t cudaMallocManaged(void** pointer, size_t bytes, unsigned flags) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (flags != cudaMemAttachGlobal && flags != cudaMemAttachHost) return cudaErrorInvalidValue;
    const cudaError_t error = softgpu::AllocateHost(runtime, pointer, bytes, flags, site);
    if (error == cudaSuccess && *pointer != nullptr) {
      runtime.managed.insert(softgpu::Address(*pointer));
    }
    return error;
  });
}

cudaError_t cudaFreeHost(void* pointer) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (pointer == nullptr) return cudaSuccess;
    const cudaError_t error = softgpu::UnsafeInCapture(runtime);
    if (error != cudaSuccess) return error;
    const auto block = runtime.host_blocks.find(softgpu::Address(pointer));
    if (block == runtime.host_blocks.end() || !block->second.is_ours ||
        runtime.managed.count(block->first)) {
      runtime.Report(softgpu::Check::kDoubleFree, site,
                     "no living memory of cudaMallocHost or cudaHostAlloc starts there");
      return cudaErrorInvalidValue;
    }
    softgpu::FreeBlock(runtime, pointer);
    return cudaSuccess;
  });
}

cudaError_t cudaHostRegister(void* pointer, size_t bytes, unsigned flags) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (pointer == nullptr || bytes == 0) return cudaErrorInvalidValue;
    const uint64_t address = softgpu::Address(pointer);
    for (const auto& [other, block] : runtime.host_blocks) {
      if (address < other + block.bytes && other < address + bytes) {
        return cudaErrorHostMemoryAlreadyRegistered;
      }
    }
    runtime.memory().AddHost(pointer, bytes, site.call);
    runtime.host_blocks[address] = {site, site.call, bytes, flags, false};
    return cudaSuccess;
  });
}

cudaError_t cudaHostUnregister(void* pointer) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    const auto block = runtime.host_blocks.find(softgpu::Address(pointer));
    if (block == runtime.host_blocks.end() || block->second.is_ours) {
      return cudaErrorHostMemoryNotRegistered;
    }
    runtime.streams.WaitAll(runtime);
    runtime.memory().RemoveHost(pointer);
    runtime.host_blocks.erase(block);
    return cudaSuccess;
  });
}

cudaError_t cudaHostGetDevicePointer(void** device, void* host, unsigned) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (runtime.memory().FindHost(softgpu::Address(host), 1) == nullptr) {
      return cudaErrorInvalidValue;
    }
    *device = host;
    return cudaSuccess;
  });
}

cudaError_t cudaHostGetFlags(unsigned* flags, void* host) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    const auto block = runtime.host_blocks.find(softgpu::Address(host));
    if (block == runtime.host_blocks.end()) return cudaErrorInvalidValue;
    *flags = block->second.flags | cudaHostAllocMapped;
    return cudaSuccess;
  });
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    *total = runtime.memory().capacity();
    *free = *total - runtime.memory().used();
    return cudaSuccess;
  });
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* pointer) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    std::memset(attributes, 0, sizeof(*attributes));
    auto* address = const_cast<void*>(pointer);
    if (runtime.memory().Contains(softgpu::Address(pointer))) {
      if (!runtime.memory().IsAllocated(softgpu::Address(pointer), 1)) return cudaErrorInvalidValue;
      attributes->type = cudaMemoryTypeDevice;
      attributes->devicePointer = address;
      return cudaSuccess;
    }
    const softgpu::HostRange* range = runtime.memory().FindHost(softgpu::Address(pointer), 1);
    attributes->hostPointer = address;
    if (range == nullptr) {
      attributes->device = -2;  // the runtime's "no device"
      return cudaSuccess;
    }
    attributes->type = runtime.managed.count(softgpu::Address(range->address))
                           ? cudaMemoryTypeManaged
                           : cudaMemoryTypeHost;
    attributes->devicePointer = address;
    return cudaSuccess;
  });
}

cudaError_t cudaMemAdvise(const void*, size_t, cudaMemoryAdvise, cudaMemLocation) {
  return SOFTGPU_CALL([](Runtime&, const CallSite&) { return cudaSuccess; });
}

cudaError_t cudaMemPrefetchAsync(const void*, size_t, cudaMemLocation, unsigned,
                                 cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Submit(runtime, stream, softgpu::NoWork{}, site);
  });
}

}  // extern "C"
