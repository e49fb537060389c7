// The device: one, called softgpu, with the limits of an A100 (SOFTGPU_ARCH=80) or H100 (90).
#include <cuda_runtime_api.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <iterator>
#include <string>
#include <utility>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/limits.h"
#include "tests/softgpu/runtime/runtime.h"

namespace {

using softgpu::CallSite;
using softgpu::Limits;
using softgpu::LimitsOf;
using softgpu::Runtime;

unsigned device_flags = cudaDeviceMapHost;
std::array<size_t, 7> device_limits = {1024, 1 << 20, 8 << 20, 2, 2048, 64, 0};

void FillProperties(Runtime& runtime, cudaDeviceProp* p) {
  const Limits limits = LimitsOf(runtime.arch());
  std::memset(p, 0, sizeof(*p));
  std::strcpy(p->name, "softgpu");
  std::strcpy(p->uuid.bytes, "softgpu");
  p->totalGlobalMem = runtime.memory().capacity();
  p->sharedMemPerBlock = softgpu::kSharedWithoutOptIn;
  p->sharedMemPerBlockOptin = limits.shared_per_block_opt_in;
  p->sharedMemPerMultiprocessor = limits.shared_per_multiprocessor;
  p->reservedSharedMemPerBlock = limits.shared_reserved;
  p->regsPerBlock = p->regsPerMultiprocessor = limits.registers_per_multiprocessor;
  p->warpSize = 32;
  p->memPitch = 0x7fffffff;
  p->maxThreadsPerBlock = softgpu::kMaxThreadsPerBlock;
  for (int i = 0; i < 3; ++i) {
    p->maxThreadsDim[i] = static_cast<int>(softgpu::kMaxBlockDim[i]);
    p->maxGridSize[i] = static_cast<int>(softgpu::kMaxGridDim[i]);
  }
  p->totalConstMem = 64 * 1024;
  p->major = limits.major;
  p->minor = limits.minor;
  p->textureAlignment = 512;
  p->texturePitchAlignment = 32;
  p->multiProcessorCount = limits.multiprocessors;
  p->maxThreadsPerMultiProcessor = limits.threads_per_multiprocessor;
  p->maxBlocksPerMultiProcessor = limits.blocks_per_multiprocessor;
  p->l2CacheSize = limits.l2_bytes;
  p->memoryBusWidth = limits.bus_bits;
  p->canMapHostMemory = p->concurrentKernels = p->unifiedAddressing = 1;
  p->asyncEngineCount = 3;
  p->streamPrioritiesSupported = p->globalL1CacheSupported = p->localL1CacheSupported = 1;
  p->managedMemory = p->canUseHostPointerForRegisteredMem = p->hostRegisterSupported = 1;
  p->cooperativeLaunch = p->memoryPoolsSupported = p->computePreemptionSupported = 1;
  p->concurrentManagedAccess = 1;
}

// What the device has, or can (1). Textures, surfaces, links to other devices: 0.
constexpr cudaDeviceAttr kAbilities[] = {
    cudaDevAttrGpuOverlap,
    cudaDevAttrCanMapHostMemory,
    cudaDevAttrConcurrentKernels,
    cudaDevAttrUnifiedAddressing,
    cudaDevAttrStreamPrioritiesSupported,
    cudaDevAttrGlobalL1CacheSupported,
    cudaDevAttrLocalL1CacheSupported,
    cudaDevAttrManagedMemory,
    cudaDevAttrConcurrentManagedAccess,
    cudaDevAttrComputePreemptionSupported,
    cudaDevAttrCanUseHostPointerForRegisteredMem,
    cudaDevAttrCooperativeLaunch,
    cudaDevAttrHostRegisterSupported,
    cudaDevAttrMemoryPoolsSupported,
};

int Attribute(Runtime& runtime, cudaDeviceAttr attribute) {
  const Limits limits = LimitsOf(runtime.arch());
  cudaDeviceProp p;
  FillProperties(runtime, &p);
  const std::pair<cudaDeviceAttr, int> values[] = {
      {cudaDevAttrMaxThreadsPerBlock, p.maxThreadsPerBlock},
      {cudaDevAttrMaxBlockDimX, p.maxThreadsDim[0]},
      {cudaDevAttrMaxBlockDimY, p.maxThreadsDim[1]},
      {cudaDevAttrMaxBlockDimZ, p.maxThreadsDim[2]},
      {cudaDevAttrMaxGridDimX, p.maxGridSize[0]},
      {cudaDevAttrMaxGridDimY, p.maxGridSize[1]},
      {cudaDevAttrMaxGridDimZ, p.maxGridSize[2]},
      {cudaDevAttrMaxSharedMemoryPerBlock, static_cast<int>(p.sharedMemPerBlock)},
      {cudaDevAttrMaxSharedMemoryPerBlockOptin, static_cast<int>(p.sharedMemPerBlockOptin)},
      {cudaDevAttrMaxSharedMemoryPerMultiprocessor, static_cast<int>(p.sharedMemPerMultiprocessor)},
      {cudaDevAttrReservedSharedMemoryPerBlock, static_cast<int>(p.reservedSharedMemPerBlock)},
      {cudaDevAttrTotalConstantMemory, static_cast<int>(p.totalConstMem)},
      {cudaDevAttrWarpSize, p.warpSize},
      {cudaDevAttrMaxPitch, static_cast<int>(p.memPitch)},
      {cudaDevAttrMaxRegistersPerBlock, p.regsPerBlock},
      {cudaDevAttrMaxRegistersPerMultiprocessor, p.regsPerMultiprocessor},
      {cudaDevAttrClockRate, limits.clock_khz},
      {cudaDevAttrMemoryClockRate, limits.memory_clock_khz},
      {cudaDevAttrGlobalMemoryBusWidth, p.memoryBusWidth},
      {cudaDevAttrTextureAlignment, static_cast<int>(p.textureAlignment)},
      {cudaDevAttrTexturePitchAlignment, static_cast<int>(p.texturePitchAlignment)},
      {cudaDevAttrMultiProcessorCount, p.multiProcessorCount},
      {cudaDevAttrMaxThreadsPerMultiProcessor, p.maxThreadsPerMultiProcessor},
      {cudaDevAttrMaxBlocksPerMultiprocessor, p.maxBlocksPerMultiProcessor},
      {cudaDevAttrL2CacheSize, p.l2CacheSize},
      {cudaDevAttrComputeCapabilityMajor, p.major},
      {cudaDevAttrComputeCapabilityMinor, p.minor},
      {cudaDevAttrAsyncEngineCount, p.asyncEngineCount},
      {cudaDevAttrSingleToDoublePrecisionPerfRatio, 2},
      {cudaDevAttrHostNumaId, -1},
      {cudaDevAttrNumaId, -1},
  };
  for (const auto& [known, value] : values) {
    if (known == attribute) return value;
  }
  return std::count(std::begin(kAbilities), std::end(kAbilities), attribute) != 0;
}

cudaError_t CheckDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *count = 1;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDevice(int* device) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *device = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaSetDevice(int device) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) { return CheckDevice(device); });
}

cudaError_t cudaInitDevice(int device, unsigned, unsigned) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) { return CheckDevice(device); });
}

cudaError_t cudaSetValidDevices(int* devices, int count) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    for (int i = 0; i < count; ++i) {
      if (devices[i] != 0) return cudaErrorInvalidDevice;
    }
    return cudaSuccess;
  });
}

cudaError_t cudaChooseDevice(int* device, const cudaDeviceProp*) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *device = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int device) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (properties == nullptr) return cudaErrorInvalidValue;
    if (device == 0) FillProperties(runtime, properties);
    return CheckDevice(device);
  });
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int device) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (device != 0) return cudaErrorInvalidDevice;
    if (value == nullptr || attribute <= 0 || attribute >= cudaDevAttrMax) {
      return cudaErrorInvalidValue;
    }
    *value = Attribute(runtime, attribute);
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSynchronize() {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    const cudaError_t error = softgpu::UnsafeInCapture(runtime);
    if (error != cudaSuccess) return error;
    runtime.streams.WaitAll(runtime);
    return cudaSuccess;
  });
}

// Works after a fault, too: that is what it is for.
cudaError_t cudaDeviceReset() {
  Runtime& runtime = Runtime::Get();
  const std::lock_guard<std::mutex> lock(runtime.mutex);
  runtime.Reset();
  softgpu::LastError() = cudaSuccess;
  return cudaSuccess;
}

cudaError_t cudaSetDeviceFlags(unsigned flags) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if ((flags & ~unsigned{cudaDeviceMask}) != 0) return cudaErrorInvalidValue;
    device_flags = flags | cudaDeviceMapHost;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDeviceFlags(unsigned* flags) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *flags = device_flags;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetLimit(size_t* value, cudaLimit limit) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (limit < 0 || limit >= device_limits.size()) return cudaErrorUnsupportedLimit;
    *value = device_limits[limit];
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetLimit(cudaLimit limit, size_t value) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (limit < 0 || limit >= device_limits.size()) return cudaErrorUnsupportedLimit;
    device_limits[limit] = value;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceGetCacheConfig(cudaFuncCache* config) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *config = cudaFuncCachePreferNone;
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceSetCacheConfig(cudaFuncCache) {
  return SOFTGPU_CALL([](Runtime&, const CallSite&) { return cudaSuccess; });
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int device) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (device != 0) return cudaErrorInvalidDevice;
    constexpr char kId[] = "0000:00:00.0";
    if (text == nullptr || size < static_cast<int>(sizeof(kId))) return cudaErrorInvalidValue;
    std::memcpy(text, kId, sizeof(kId));
    return cudaSuccess;
  });
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *can = 0;
    return cudaSuccess;
  });
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaProfilerStart() { return cudaSuccess; }
cudaError_t cudaProfilerStop() { return cudaSuccess; }

cudaError_t cudaCtxResetPersistingL2Cache() { return cudaSuccess; }

cudaError_t cudaGetDriverEntryPointByVersion(const char* symbol, void** function, unsigned,
                                             unsigned long long,
                                             cudaDriverEntryPointQueryResult* status) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    *function = nullptr;
    softgpu::NotSupported("the driver", symbol);
    if (status == nullptr) return cudaErrorNotSupported;
    *status = cudaDriverEntryPointSymbolNotFound;
    return cudaSuccess;
  });
}

cudaError_t cudaGetDriverEntryPoint(const char* symbol, void** function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult* status) {
  return cudaGetDriverEntryPointByVersion(symbol, function, CUDART_VERSION, flags, status);
}

cudaChannelFormatDesc cudaCreateChannelDesc(int x, int y, int z, int w,
                                            cudaChannelFormatKind kind) {
  return {x, y, z, w, kind};
}

}  // extern "C"
