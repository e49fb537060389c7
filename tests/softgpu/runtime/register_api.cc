// What nvcc's stubs call before main and around a launch.
#include <cuda_runtime_api.h>

#include <cstring>
#include <vector>

#include "tests/softgpu/runtime/fatbin.h"
#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/runtime.h"

namespace {

using softgpu::CallSite;
using softgpu::Image;
using softgpu::Runtime;

struct FatbinWrapper {
  int magic;
  int version;
  const void* data;
  void* more;
};
constexpr int kWrapperMagic = 0x466243b1;

struct CallConfiguration {
  dim3 grid, block;
  size_t shared;
  cudaStream_t stream;
  CallSite site;  // of the <<<>>>: the launch itself is called from a stub
};
std::vector<CallConfiguration>& Configurations() {
  thread_local std::vector<CallConfiguration> stack;
  return stack;
}

// Of the configuration that was popped last.
CallSite& LaunchSite() {
  thread_local CallSite site;
  return site;
}

Image* FromHandle(void** handle) { return reinterpret_cast<Image*>(handle); }

// Not Call: before main nothing may fail, and a fault does not unregister a program.
template <class Body>
void Register(Body body) {
  Runtime& runtime = Runtime::Get();
  const std::lock_guard<std::mutex> lock(runtime.mutex);
  body(runtime);
}

}  // namespace

extern "C" {

void** __cudaRegisterFatBinary(void* wrapper) {
  const auto* w = static_cast<const FatbinWrapper*>(wrapper);
  Image* image = nullptr;
  Register([&](Runtime& runtime) {
    image = runtime.modules.AddImage(w->magic == kWrapperMagic ? w->data : nullptr);
  });
  return reinterpret_cast<void**>(image);
}

void __cudaRegisterFatBinaryEnd(void**) {}

void __cudaUnregisterFatBinary(void** handle) {
  Register([&](Runtime& runtime) {
    runtime.streams.Drain(runtime);  // queued work may use its kernels
    runtime.modules.RemoveImage(FromHandle(handle));
  });
}

void __cudaRegisterFunction(void** handle, const char* host, char*, const char* name, int, uint3*,
                            uint3*, dim3*, dim3*, int*) {
  Register([&](Runtime& runtime) { runtime.modules.AddFunction(FromHandle(handle), host, name); });
}

void __cudaRegisterVar(void** handle, char* host, char*, const char* name, int, size_t bytes, int,
                       int) {
  Register([&](Runtime& runtime) {
    runtime.modules.AddVariable(FromHandle(handle), host, name, bytes, nullptr);
  });
}

void __cudaRegisterManagedVar(void** handle, void** host, char*, const char* name, int,
                              size_t bytes, int, int) {
  Register([&](Runtime& runtime) {
    runtime.modules.AddVariable(FromHandle(handle), host, name, bytes, host);
  });
}

void __cudaRegisterHostVar(void**, const char*, char*, size_t) {
  softgpu::NotSupported("__cudaRegisterHostVar");
}

char __cudaInitModule(void** handle) {
  Register([&](Runtime& runtime) { runtime.modules.Load(runtime, *FromHandle(handle)); });
  return 1;
}

unsigned __cudaPushCallConfiguration(dim3 grid, dim3 block, size_t shared, CUstream_st* stream) {
  Configurations().push_back({grid, block, shared, stream, CallSite::Here("<<<>>>")});
  return 0;
}

cudaError_t __cudaPopCallConfiguration(dim3* grid, dim3* block, size_t* shared, void* stream) {
  std::vector<CallConfiguration>& stack = Configurations();
  if (stack.empty()) return softgpu::LastError() = cudaErrorMissingConfiguration;
  const CallConfiguration& top = stack.back();
  *grid = top.grid;
  *block = top.block;
  *shared = top.shared;
  std::memcpy(stream, &top.stream, sizeof(top.stream));
  LaunchSite() = top.site;
  stack.pop_back();
  return cudaSuccess;
}

cudaError_t __cudaGetKernel(cudaKernel_t* kernel, const void* host) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    *kernel = reinterpret_cast<cudaKernel_t>(runtime.modules.Find(host));
    return *kernel == nullptr ? cudaErrorInvalidDeviceFunction : cudaSuccess;
  });
}

cudaError_t __cudaLaunchKernel(cudaKernel_t kernel, dim3 grid, dim3 block, void** args,
                               size_t shared, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return softgpu::Launch(runtime, {kernel, grid, block, args, shared}, stream, LaunchSite());
  });
}

cudaError_t __cudaLaunchKernel_ptsz(cudaKernel_t kernel, dim3 grid, dim3 block, void** args,
                                    size_t shared, cudaStream_t stream) {
  const softgpu::PerThreadDefault scope;
  return __cudaLaunchKernel(kernel, grid, block, args, shared, stream);
}

}  // extern "C"
