// Kernel launches.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/runtime.h"

namespace {

using softgpu::CallSite;
using softgpu::Runtime;

// Attributes that change what a launch means; hints are taken and have no effect.
cudaError_t TakeAttributes(const cudaLaunchConfig_t& config, const CallSite& site,
                           softgpu::LaunchArguments* arguments) {
  for (unsigned i = 0; i < config.numAttrs; ++i) {
    const cudaLaunchAttribute& attribute = config.attrs[i];
    switch (attribute.id) {
      case cudaLaunchAttributeIgnore:
      case cudaLaunchAttributeAccessPolicyWindow:
      case cudaLaunchAttributeSynchronizationPolicy:
      case cudaLaunchAttributeClusterSchedulingPolicyPreference:
      case cudaLaunchAttributePriority:
      case cudaLaunchAttributeMemSyncDomainMap:
      case cudaLaunchAttributeMemSyncDomain:
      case cudaLaunchAttributePreferredClusterDimension:
      case cudaLaunchAttributePreferredSharedMemoryCarveout:
        break;
      // A launch that starts early must wait itself for what came before; starting it late is
      // within the rules.
      case cudaLaunchAttributeProgrammaticStreamSerialization:
        break;
      case cudaLaunchAttributeCooperative:
        arguments->cooperative = attribute.val.cooperative != 0;
        break;
      case cudaLaunchAttributeClusterDimension: {
        const auto& cluster = attribute.val.clusterDim;
        if (uint64_t{cluster.x} * cluster.y * cluster.z != 1) {
          return softgpu::NotSupported(site.call, "clusters of more than one block");
        }
        break;
      }
      default:
        return softgpu::NotSupported(site.call, "launch attribute " + std::to_string(attribute.id));
    }
  }
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaLaunchKernel(const void* function, dim3 grid, dim3 block, void** args,
                             size_t shared, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Launch(runtime, {function, grid, block, args, shared}, stream, site);
  });
}

cudaError_t cudaLaunchCooperativeKernel(const void* function, dim3 grid, dim3 block, void** args,
                                        size_t shared, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Launch(runtime, {function, grid, block, args, shared, true}, stream, site);
  });
}

cudaError_t cudaLaunchKernelExC(const cudaLaunchConfig_t* config, const void* function,
                                void** args) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (config == nullptr) return cudaErrorInvalidValue;
    softgpu::LaunchArguments arguments{function, config->gridDim, config->blockDim, args,
                                       config->dynamicSmemBytes};
    const cudaError_t error = TakeAttributes(*config, site, &arguments);
    if (error != cudaSuccess) return error;
    return softgpu::Launch(runtime, arguments, config->stream, site);
  });
}

}  // extern "C"
