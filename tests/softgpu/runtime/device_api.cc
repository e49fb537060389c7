// The device: one, called softgpu, with the limits of an A100 (SOFTGPU_ARCH=80) or H100 (90).
#include <cuda_runtime_api.h>

#include <array>
#include <cstring>
#include <string>

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

// A fixed value, or one of the properties; false: not known.
bool Attribute(Runtime& runtime, cudaDeviceAttr attribute, int* value) {
  const Limits limits = LimitsOf(runtime.arch());
  cudaDeviceProp p;
  FillProperties(runtime, &p);
  switch (attribute) {
    case cudaDevAttrMaxThreadsPerBlock:
      *value = p.maxThreadsPerBlock;
      return true;
    case cudaDevAttrMaxBlockDimX:
      *value = p.maxThreadsDim[0];
      return true;
    case cudaDevAttrMaxBlockDimY:
      *value = p.maxThreadsDim[1];
      return true;
    case cudaDevAttrMaxBlockDimZ:
      *value = p.maxThreadsDim[2];
      return true;
    case cudaDevAttrMaxGridDimX:
      *value = p.maxGridSize[0];
      return true;
    case cudaDevAttrMaxGridDimY:
      *value = p.maxGridSize[1];
      return true;
    case cudaDevAttrMaxGridDimZ:
      *value = p.maxGridSize[2];
      return true;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = softgpu::kSharedWithoutOptIn;
      return true;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = static_cast<int>(limits.shared_per_block_opt_in);
      return true;
    case cudaDevAttrMaxSharedMemoryPerMultiprocessor:
      *value = static_cast<int>(limits.shared_per_multiprocessor);
      return true;
    case cudaDevAttrReservedSharedMemoryPerBlock:
      *value = static_cast<int>(limits.shared_reserved);
      return true;
    case cudaDevAttrTotalConstantMemory:
      *value = 64 * 1024;
      return true;
    case cudaDevAttrWarpSize:
      *value = 32;
      return true;
    case cudaDevAttrMaxPitch:
      *value = 0x7fffffff;
      return true;
    case cudaDevAttrMaxRegistersPerBlock:
    case cudaDevAttrMaxRegistersPerMultiprocessor:
      *value = limits.registers_per_multiprocessor;
      return true;
    case cudaDevAttrClockRate:
      *value = limits.clock_khz;
      return true;
    case cudaDevAttrMemoryClockRate:
      *value = limits.memory_clock_khz;
      return true;
    case cudaDevAttrGlobalMemoryBusWidth:
      *value = limits.bus_bits;
      return true;
    case cudaDevAttrTextureAlignment:
      *value = 512;
      return true;
    case cudaDevAttrTexturePitchAlignment:
      *value = 32;
      return true;
    case cudaDevAttrMultiProcessorCount:
      *value = limits.multiprocessors;
      return true;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = limits.threads_per_multiprocessor;
      return true;
    case cudaDevAttrMaxBlocksPerMultiprocessor:
      *value = limits.blocks_per_multiprocessor;
      return true;
    case cudaDevAttrL2CacheSize:
      *value = limits.l2_bytes;
      return true;
    case cudaDevAttrComputeCapabilityMajor:
      *value = limits.major;
      return true;
    case cudaDevAttrComputeCapabilityMinor:
      *value = limits.minor;
      return true;
    case cudaDevAttrAsyncEngineCount:
      *value = 3;
      return true;
    case cudaDevAttrSingleToDoublePrecisionPerfRatio:
      *value = 2;
      return true;
    case cudaDevAttrComputeMode:
      *value = cudaComputeModeDefault;
      return true;
    case cudaDevAttrHostNumaId:
    case cudaDevAttrNumaId:
      *value = -1;
      return true;
    case cudaDevAttrGpuOverlap:
    case cudaDevAttrCanMapHostMemory:
    case cudaDevAttrConcurrentKernels:
    case cudaDevAttrUnifiedAddressing:
    case cudaDevAttrStreamPrioritiesSupported:
    case cudaDevAttrGlobalL1CacheSupported:
    case cudaDevAttrLocalL1CacheSupported:
    case cudaDevAttrManagedMemory:
    case cudaDevAttrConcurrentManagedAccess:
    case cudaDevAttrComputePreemptionSupported:
    case cudaDevAttrCanUseHostPointerForRegisteredMem:
    case cudaDevAttrCooperativeLaunch:
    case cudaDevAttrHostRegisterSupported:
    case cudaDevAttrMemoryPoolsSupported:
      *value = 1;
      return true;
    default:
      *value = 0;  // textures, surfaces, links to other devices: none
      return attribute > 0 && attribute < cudaDevAttrMax;
  }
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
    if (value == nullptr || !Attribute(runtime, attribute, value)) return cudaErrorInvalidValue;
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
