// What a program may ask and set about a kernel, and how many of its blocks fit on a
// multiprocessor.
#include <cuda_runtime_api.h>

#include <cstring>

#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/limits.h"
#include "tests/softgpu/runtime/runtime.h"

namespace {

using softgpu::CallSite;
using softgpu::Code;
using softgpu::KernelFunction;
using softgpu::KernelNeeds;
using softgpu::kSharedWithoutOptIn;
using softgpu::Runtime;

template <class Body>
cudaError_t WithKernel(Runtime& runtime, const void* handle, Body body) {
  KernelFunction* function = runtime.modules.Find(handle);
  if (function == nullptr) return cudaErrorInvalidDeviceFunction;
  const Code* code = nullptr;
  const cudaError_t error = runtime.modules.Decode(runtime, *function, &code);
  if (error != cudaSuccess) return error;
  return body(*function, *code);
}

cudaError_t SetAttribute(Runtime& runtime, const void* handle, cudaFuncAttribute attribute,
                         int value, const CallSite& site) {
  return WithKernel(runtime, handle, [&](KernelFunction& function, const Code& code) {
    const softgpu::Limits limits = softgpu::LimitsOf(runtime.arch());
    switch (attribute) {
      case cudaFuncAttributeMaxDynamicSharedMemorySize: {
        const uint32_t used = softgpu::Needs(code).static_shared;
        if (value < 0 || used + static_cast<uint32_t>(value) > limits.shared_per_block_opt_in) {
          return cudaErrorInvalidValue;
        }
        function.max_dynamic_shared = static_cast<uint32_t>(value);
        return cudaSuccess;
      }
      case cudaFuncAttributePreferredSharedMemoryCarveout:
        if (value < -1 || value > 100) return cudaErrorInvalidValue;
        function.carveout = value;
        return cudaSuccess;
      case cudaFuncAttributeNonPortableClusterSizeAllowed:
      case cudaFuncAttributeClusterSchedulingPolicyPreference:
        return cudaSuccess;
      default:
        return softgpu::NotSupported(site.call, "attribute " + std::to_string(attribute));
    }
  });
}

cudaError_t GetAttributes(Runtime& runtime, const void* handle, cudaFuncAttributes* out) {
  return WithKernel(runtime, handle, [&](KernelFunction& function, const Code& code) {
    const KernelNeeds needs = softgpu::Needs(code);
    std::memset(out, 0, sizeof(*out));
    out->sharedSizeBytes = needs.static_shared;
    out->localSizeBytes = needs.local_bytes;
    out->maxThreadsPerBlock = static_cast<int>(needs.max_threads);
    out->numRegs = needs.registers;
    out->ptxVersion = function.image->module->target_sm();
    out->binaryVersion = runtime.arch();
    out->maxDynamicSharedSizeBytes = static_cast<int>(
        function.max_dynamic_shared != 0 ? function.max_dynamic_shared
                                         : kSharedWithoutOptIn - needs.static_shared);
    out->preferredShmemCarveout = function.carveout;
    return cudaSuccess;
  });
}

cudaError_t Occupancy(Runtime& runtime, int* blocks, const void* handle, int threads,
                      size_t dynamic_shared) {
  if (blocks == nullptr || threads <= 0) return cudaErrorInvalidValue;
  return WithKernel(runtime, handle, [&](KernelFunction&, const Code& code) {
    *blocks = softgpu::ActiveBlocks(runtime.arch(), softgpu::Needs(code), threads, dynamic_shared);
    return cudaSuccess;
  });
}

}  // namespace

extern "C" {

cudaError_t cudaFuncSetAttribute(const void* function, cudaFuncAttribute attribute, int value) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return SetAttribute(runtime, function, attribute, value, site);
  });
}

cudaError_t cudaKernelSetAttributeForDevice(cudaKernel_t kernel, cudaFuncAttribute attribute,
                                            int value, int device) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (device != 0) return cudaErrorInvalidDevice;
    return SetAttribute(runtime, kernel, attribute, value, site);
  });
}

cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, const void* function) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (attributes == nullptr) return cudaErrorInvalidValue;
    return GetAttributes(runtime, function, attributes);
  });
}

cudaError_t cudaFuncSetCacheConfig(const void* function, cudaFuncCache) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return runtime.modules.Find(function) ? cudaSuccess : cudaErrorInvalidDeviceFunction;
  });
}

cudaError_t cudaFuncGetName(const char** name, const void* handle) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    const KernelFunction* function = runtime.modules.Find(handle);
    if (function == nullptr) return cudaErrorInvalidDeviceFunction;
    *name = function->name.c_str();
    return cudaSuccess;
  });
}

cudaError_t cudaFuncGetParamInfo(const void* handle, size_t index, size_t* offset, size_t* bytes) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithKernel(runtime, handle, [&](KernelFunction&, const Code& code) {
      const auto& params = code.function->params;
      if (index >= params.size()) return cudaErrorInvalidValue;
      size_t at = 0;
      for (size_t i = 0;; ++i) {
        const size_t align = std::max<size_t>(params[i].align, 1);
        at = (at + align - 1) / align * align;
        if (i == index) break;
        at += params[i].bytes;
      }
      *offset = at;
      if (bytes != nullptr) *bytes = params[index].bytes;
      return cudaSuccess;
    });
  });
}

cudaError_t cudaGetKernel(cudaKernel_t* kernel, const void* entry) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    *kernel = reinterpret_cast<cudaKernel_t>(runtime.modules.Find(entry));
    return *kernel == nullptr ? cudaErrorInvalidDeviceFunction : cudaSuccess;
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, const void* function,
                                                          int threads, size_t dynamic_shared) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return Occupancy(runtime, blocks, function, threads, dynamic_shared);
  });
}

cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
    int* blocks, const void* function, int threads, size_t dynamic_shared, unsigned) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return Occupancy(runtime, blocks, function, threads, dynamic_shared);
  });
}

cudaError_t cudaOccupancyAvailableDynamicSMemPerBlock(size_t* bytes, const void* handle, int blocks,
                                                      int) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (bytes == nullptr || blocks <= 0) return cudaErrorInvalidValue;
    return WithKernel(runtime, handle, [&](KernelFunction&, const Code& code) {
      const softgpu::Limits limits = softgpu::LimitsOf(runtime.arch());
      const size_t share = limits.shared_per_multiprocessor / static_cast<unsigned>(blocks);
      const size_t used = softgpu::Needs(code).static_shared + limits.shared_reserved;
      *bytes = share < used ? 0
                            : std::min<size_t>(share - used, limits.shared_per_block_opt_in -
                                                                 (used - limits.shared_reserved));
      return cudaSuccess;
    });
  });
}

}  // extern "C"
