// Variables of the program's device code.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/runtime.h"
#include "tests/softgpu/runtime/transfers.h"

using softgpu::CallSite;
using softgpu::Runtime;

namespace {

cudaError_t ToSymbol(Runtime& runtime, const void* symbol, const void* src, size_t bytes,
                     size_t offset, cudaMemcpyKind kind, cudaStream_t stream, bool wait,
                     const CallSite& site) {
  void* dst = nullptr;
  const cudaError_t error = softgpu::SymbolAddress(runtime, symbol, offset, bytes, site, &dst);
  if (error != cudaSuccess) return error;
  return softgpu::Transfer(runtime, softgpu::Linear(dst, src, bytes), kind, stream, wait, site);
}

cudaError_t FromSymbol(Runtime& runtime, void* dst, const void* symbol, size_t bytes, size_t offset,
                       cudaMemcpyKind kind, cudaStream_t stream, bool wait, const CallSite& site) {
  void* src = nullptr;
  const cudaError_t error = softgpu::SymbolAddress(runtime, symbol, offset, bytes, site, &src);
  if (error != cudaSuccess) return error;
  return softgpu::Transfer(runtime, softgpu::Linear(dst, src, bytes), kind, stream, wait, site);
}

}  // namespace

extern "C" {

cudaError_t cudaGetSymbolAddress(void** address, const void* symbol) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::SymbolAddress(runtime, symbol, 0, 0, site, address);
  });
}

cudaError_t cudaGetSymbolSize(size_t* bytes, const void* symbol) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    const softgpu::DeviceVariable* variable = runtime.modules.FindVariable(symbol);
    if (variable == nullptr) return cudaErrorInvalidSymbol;
    *bytes = variable->bytes;
    return cudaSuccess;
  });
}

cudaError_t cudaMemcpyToSymbol(const void* symbol, const void* src, size_t bytes, size_t offset,
                               cudaMemcpyKind kind) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ToSymbol(runtime, symbol, src, bytes, offset, kind, nullptr, true, site);
  });
}

cudaError_t cudaMemcpyToSymbolAsync(const void* symbol, const void* src, size_t bytes,
                                    size_t offset, cudaMemcpyKind kind, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return ToSymbol(runtime, symbol, src, bytes, offset, kind, stream, false, site);
  });
}

cudaError_t cudaMemcpyFromSymbol(void* dst, const void* symbol, size_t bytes, size_t offset,
                                 cudaMemcpyKind kind) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return FromSymbol(runtime, dst, symbol, bytes, offset, kind, nullptr, true, site);
  });
}

cudaError_t cudaMemcpyFromSymbolAsync(void* dst, const void* symbol, size_t bytes, size_t offset,
                                      cudaMemcpyKind kind, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return FromSymbol(runtime, dst, symbol, bytes, offset, kind, stream, false, site);
  });
}

}  // extern "C"
