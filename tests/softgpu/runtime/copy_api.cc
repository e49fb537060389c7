// Copies and fills. What waits and what does not follows the manual's "API synchronization
// behavior": copies from pageable memory take its bytes at once but may reach the device later;
// copies to pageable memory are done when the call returns; pinned memory is used late.
#include <cuda_runtime_api.h>

#include <cstring>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/runtime.h"
#include "tests/softgpu/runtime/transfers.h"

namespace softgpu {
namespace {

uint64_t Address(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer); }

}  // namespace

CopyWork Linear(void* dst, const void* src, size_t bytes) {
  CopyWork copy;
  copy.dst = {Address(dst), bytes, bytes};
  copy.src = {Address(src), bytes, bytes};
  copy.extent = {bytes, 1, 1};
  return copy;
}

CopyWork Pitched(void* dst, size_t dst_pitch, const void* src, size_t src_pitch, size_t width,
                 size_t height) {
  CopyWork copy;
  copy.dst = {Address(dst), dst_pitch, dst_pitch * height};
  copy.src = {Address(src), src_pitch, src_pitch * height};
  copy.extent = {width, height, 1};
  return copy;
}

cudaError_t FromParameters(const cudaMemcpy3DParms& p, const CallSite& site, CopyWork* copy) {
  if (p.srcArray != nullptr || p.dstArray != nullptr) return NotSupported(site.call, "arrays");
  const auto region = [](const cudaPitchedPtr& pointer, const cudaPos& at) {
    const size_t slice = pointer.pitch * pointer.ysize;
    return Region{Address(pointer.ptr) + at.z * slice + at.y * pointer.pitch + at.x, pointer.pitch,
                  slice};
  };
  copy->dst = region(p.dstPtr, p.dstPos);
  copy->src = region(p.srcPtr, p.srcPos);
  copy->extent = {p.extent.width, p.extent.height, p.extent.depth};
  return cudaSuccess;
}

cudaError_t Transfer(Runtime& runtime, CopyWork copy, cudaMemcpyKind kind, cudaStream_t handle,
                     bool wait, const CallSite& site) {
  cudaStream_t stream = runtime.streams.Find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  cudaError_t error = wait ? UnsafeInCapture(runtime) : cudaSuccess;
  if (error != cudaSuccess) return error;
  error = CheckCopy(runtime, copy, kind, site);
  if (error != cudaSuccess || copy.extent.bytes() == 0) return error;
  if (stream->capture) {
    error = AddCaptured(*stream, copy, site);
    if (error == cudaSuccess) stream->capture_after.front()->kind = kind;
    return error;
  }
  error = ImplicitInCapture(runtime, *stream);
  if (error != cudaSuccess) return error;
  const auto pageable = [&](bool device, const Region& region) {
    return !device &&
           runtime.memory().FindHost(region.address, Span(region, copy.extent)) == nullptr;
  };
  const bool on_host = !copy.src_device && !copy.dst_device;
  const bool inside = copy.src_device && copy.dst_device;
  if (pageable(copy.src_device, copy.src)) {
    // The synchronous call waits for its stream before it starts.
    if (wait) runtime.streams.Wait(runtime, runtime.streams.Before(stream));
    copy.staged = std::make_shared<const std::vector<uint8_t>>(
        PackRows(reinterpret_cast<const uint8_t*>(copy.src.address), copy.src, copy.extent));
    copy.source = CopyWork::Source::kStaged;
    wait = false;
  } else if (inside) {
    wait = false;
  }
  wait = wait || on_host || pageable(copy.dst_device, copy.dst);
  copy.waited = wait;
  const OpPtr op = runtime.streams.Enqueue(stream, std::move(copy), site);
  if (wait) runtime.streams.Wait(runtime, {op});
  return cudaSuccess;
}

cudaError_t Fill(Runtime& runtime, FillWork fill, cudaStream_t handle, bool wait,
                 const CallSite& site) {
  const cudaError_t error = CheckFill(runtime, fill, site);
  if (error != cudaSuccess || fill.extent.bytes() == 0) return error;
  OpPtr op;
  const bool on_host = !fill.dst_device;
  const cudaError_t submitted = Submit(runtime, handle, std::move(fill), site, &op);
  if (submitted == cudaSuccess && op && wait && on_host) runtime.streams.Wait(runtime, {op});
  return submitted;
}

FillWork BoxFill(const cudaPitchedPtr& box, int value, const cudaExtent& extent) {
  FillWork fill = LinearFill(box.ptr, value, extent.width);
  fill.dst = {Address(box.ptr), box.pitch, box.pitch * box.ysize};
  fill.extent = {extent.width, extent.height, extent.depth};
  return fill;
}

FillWork LinearFill(void* dst, int value, size_t bytes) {
  FillWork fill;
  fill.dst = {Address(dst), bytes, bytes};
  fill.extent = {bytes, 1, 1};
  fill.value = static_cast<uint8_t>(value);
  return fill;
}

cudaError_t SymbolAddress(Runtime& runtime, const void* symbol, size_t offset, size_t bytes,
                          const CallSite& site, void** address) {
  const DeviceVariable* variable = runtime.modules.FindVariable(symbol);
  if (variable == nullptr) return cudaErrorInvalidSymbol;
  const uint64_t start = runtime.modules.Address(runtime, *variable);
  if (start == 0) {
    return variable->image->error != cudaSuccess ? variable->image->error : cudaErrorInvalidSymbol;
  }
  if (offset > variable->bytes || bytes > variable->bytes - offset) {
    runtime.Report(Check::kHostCopy, site,
                   "bytes " + std::to_string(offset) + " to " + std::to_string(offset + bytes) +
                       " of " + variable->name + ", which has " + std::to_string(variable->bytes));
    return cudaErrorInvalidValue;
  }
  *address = reinterpret_cast<void*>(start + offset);
  return cudaSuccess;
}

}  // namespace softgpu

using softgpu::CallSite;
using softgpu::Runtime;

extern "C" {

cudaError_t cudaMemcpy(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Transfer(runtime, softgpu::Linear(dst, src, bytes), kind, nullptr, true, site);
  });
}

cudaError_t cudaMemcpyAsync(void* dst, const void* src, size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Transfer(runtime, softgpu::Linear(dst, src, bytes), kind, stream, false, site);
  });
}

cudaError_t cudaMemcpyPeer(void* dst, int dst_device, const void* src, int src_device,
                           size_t bytes) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (dst_device != 0 || src_device != 0) return cudaErrorInvalidDevice;
    return softgpu::Transfer(runtime, softgpu::Linear(dst, src, bytes), cudaMemcpyDeviceToDevice,
                             nullptr, true, site);
  });
}

cudaError_t cudaMemcpyPeerAsync(void* dst, int dst_device, const void* src, int src_device,
                                size_t bytes, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (dst_device != 0 || src_device != 0) return cudaErrorInvalidDevice;
    return softgpu::Transfer(runtime, softgpu::Linear(dst, src, bytes), cudaMemcpyDeviceToDevice,
                             stream, false, site);
  });
}

cudaError_t cudaMemcpy2D(void* dst, size_t dst_pitch, const void* src, size_t src_pitch,
                         size_t width, size_t height, cudaMemcpyKind kind) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Transfer(runtime,
                             softgpu::Pitched(dst, dst_pitch, src, src_pitch, width, height), kind,
                             nullptr, true, site);
  });
}

cudaError_t cudaMemcpy2DAsync(void* dst, size_t dst_pitch, const void* src, size_t src_pitch,
                              size_t width, size_t height, cudaMemcpyKind kind,
                              cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Transfer(runtime,
                             softgpu::Pitched(dst, dst_pitch, src, src_pitch, width, height), kind,
                             stream, false, site);
  });
}

cudaError_t cudaMemcpy3D(const cudaMemcpy3DParms* p) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    softgpu::CopyWork copy;
    const cudaError_t error = softgpu::FromParameters(*p, site, &copy);
    if (error != cudaSuccess) return error;
    return softgpu::Transfer(runtime, std::move(copy), p->kind, nullptr, true, site);
  });
}

cudaError_t cudaMemcpy3DAsync(const cudaMemcpy3DParms* p, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    softgpu::CopyWork copy;
    const cudaError_t error = softgpu::FromParameters(*p, site, &copy);
    if (error != cudaSuccess) return error;
    return softgpu::Transfer(runtime, std::move(copy), p->kind, stream, false, site);
  });
}

cudaError_t cudaMemset(void* dst, int value, size_t bytes) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Fill(runtime, softgpu::LinearFill(dst, value, bytes), nullptr, true, site);
  });
}

cudaError_t cudaMemsetAsync(void* dst, int value, size_t bytes, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Fill(runtime, softgpu::LinearFill(dst, value, bytes), stream, false, site);
  });
}

cudaError_t cudaMemset3D(cudaPitchedPtr box, int value, cudaExtent extent) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Fill(runtime, softgpu::BoxFill(box, value, extent), nullptr, true, site);
  });
}

cudaError_t cudaMemset3DAsync(cudaPitchedPtr box, int value, cudaExtent extent,
                              cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Fill(runtime, softgpu::BoxFill(box, value, extent), stream, false, site);
  });
}

cudaError_t cudaMemset2D(void* dst, size_t pitch, int value, size_t width, size_t height) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    softgpu::FillWork fill = softgpu::LinearFill(dst, value, width);
    fill.dst.pitch = pitch;
    fill.extent.height = height;
    return softgpu::Fill(runtime, fill, nullptr, true, site);
  });
}

cudaError_t cudaMemset2DAsync(void* dst, size_t pitch, int value, size_t width, size_t height,
                              cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    softgpu::FillWork fill = softgpu::LinearFill(dst, value, width);
    fill.dst.pitch = pitch;
    fill.extent.height = height;
    return softgpu::Fill(runtime, fill, stream, false, site);
  });
}

}  // extern "C"
