// Streams: life, waiting, callbacks, capture.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/runtime.h"

namespace {

using softgpu::CallSite;
using softgpu::Capture;
using softgpu::Runtime;

constexpr int kLeastPriority = 0, kGreatestPriority = -5;

cudaError_t Create(Runtime& runtime, cudaStream_t* stream, unsigned flags, int priority) {
  if (stream == nullptr || (flags & ~unsigned{cudaStreamNonBlocking}) != 0) {
    return cudaErrorInvalidValue;
  }
  priority = std::min(std::max(priority, kGreatestPriority), kLeastPriority);
  *stream = runtime.streams.Create(flags, priority);
  return cudaSuccess;
}

// Calls body(stream) with what the handle means.
template <class Body>
cudaError_t WithStream(Runtime& runtime, cudaStream_t handle, Body body) {
  cudaStream_t stream = runtime.streams.Find(handle);
  return stream == nullptr ? cudaErrorInvalidResourceHandle : body(*stream);
}

cudaStreamCaptureStatus Status(const CUstream_st& stream) {
  if (!stream.capture) return cudaStreamCaptureStatusNone;
  return stream.capture->invalid ? cudaStreamCaptureStatusInvalidated
                                 : cudaStreamCaptureStatusActive;
}

}  // namespace

extern "C" {

cudaError_t cudaStreamCreate(cudaStream_t* stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return Create(runtime, stream, cudaStreamDefault, 0);
  });
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return SOFTGPU_CALL(
      [=](Runtime& runtime, const CallSite&) { return Create(runtime, stream, flags, 0); });
}

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned flags, int priority) {
  return SOFTGPU_CALL(
      [=](Runtime& runtime, const CallSite&) { return Create(runtime, stream, flags, priority); });
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (least != nullptr) *least = kLeastPriority;
    if (greatest != nullptr) *greatest = kGreatestPriority;
    return cudaSuccess;
  });
}

cudaError_t cudaStreamDestroy(cudaStream_t handle) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (runtime.streams.all().count(handle) == 0) return cudaErrorInvalidResourceHandle;
    softgpu::LeaveCaptures(runtime, handle);
    runtime.streams.Destroy(handle);
    return cudaSuccess;
  });
}

cudaError_t cudaStreamGetPriority(cudaStream_t handle, int* priority) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      *priority = stream.priority;
      return cudaSuccess;
    });
  });
}

cudaError_t cudaStreamGetFlags(cudaStream_t handle, unsigned* flags) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      *flags = stream.flags;
      return cudaSuccess;
    });
  });
}

cudaError_t cudaStreamGetId(cudaStream_t handle, unsigned long long* id) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      *id = stream.id;
      return cudaSuccess;
    });
  });
}

cudaError_t cudaStreamGetDevice(cudaStream_t handle, int* device) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st&) {
      *device = 0;
      return cudaSuccess;
    });
  });
}

// Hints: taken, without effect.
cudaError_t cudaStreamSetAttribute(cudaStream_t handle, cudaStreamAttrID,
                                   const cudaStreamAttrValue*) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [](CUstream_st&) { return cudaSuccess; });
  });
}

cudaError_t cudaStreamSynchronize(cudaStream_t handle) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      const cudaError_t error = softgpu::WaitInCapture(stream);
      if (error != cudaSuccess) return error;
      runtime.streams.Wait(runtime, runtime.streams.Before(&stream));
      return cudaSuccess;
    });
  });
}

cudaError_t cudaStreamQuery(cudaStream_t handle) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      const cudaError_t error = softgpu::WaitInCapture(stream);
      if (error != cudaSuccess) return error;
      const bool done = runtime.streams.Poll(runtime, runtime.streams.Before(&stream));
      return done ? cudaSuccess : cudaErrorNotReady;
    });
  });
}

cudaError_t cudaStreamWaitEvent(cudaStream_t handle, cudaEvent_t event, unsigned) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (!runtime.streams.IsEvent(event)) return cudaErrorInvalidResourceHandle;
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      if (event->capture) return softgpu::JoinCapture(stream, *event);
      // An event of before the capture: the graph's launches come later anyway.
      if (stream.capture) {
        stream.capture->invalid = true;
        return cudaErrorStreamCaptureIsolation;
      }
      if (!event->op || event->op->done) return cudaSuccess;
      runtime.streams.Enqueue(&stream, softgpu::NoWork{}, site, {event->op});
      return cudaSuccess;
    });
  });
}

cudaError_t cudaLaunchHostFunc(cudaStream_t stream, cudaHostFn_t function, void* data) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (function == nullptr) return cudaErrorInvalidValue;
    return softgpu::Submit(runtime, stream, softgpu::HostWork{function, nullptr, stream, data},
                           site);
  });
}

cudaError_t cudaStreamAddCallback(cudaStream_t stream, cudaStreamCallback_t callback, void* data,
                                  unsigned flags) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    if (callback == nullptr || flags != 0) return cudaErrorInvalidValue;
    cudaStream_t found = runtime.streams.Find(stream);
    if (found != nullptr && found->capture) {
      found->capture->invalid = true;
      return cudaErrorStreamCaptureUnsupported;
    }
    return softgpu::Submit(runtime, stream, softgpu::HostWork{nullptr, callback, stream, data},
                           site);
  });
}

cudaError_t cudaStreamAttachMemAsync(cudaStream_t stream, void*, size_t, unsigned) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return softgpu::Submit(runtime, stream, softgpu::NoWork{}, site);
  });
}

cudaError_t cudaStreamBeginCapture(cudaStream_t handle, cudaStreamCaptureMode mode) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      return softgpu::BeginCapture(runtime, &stream, mode, nullptr, {});
    });
  });
}

cudaError_t cudaStreamBeginCaptureToGraph(cudaStream_t handle, cudaGraph_t graph,
                                          const cudaGraphNode_t* after, const cudaGraphEdgeData*,
                                          size_t count, cudaStreamCaptureMode mode) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (graph == nullptr) return cudaErrorInvalidValue;
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      return softgpu::BeginCapture(runtime, &stream, mode, graph, {after, after + count});
    });
  });
}

cudaError_t cudaStreamEndCapture(cudaStream_t handle, cudaGraph_t* graph) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (graph == nullptr) return cudaErrorInvalidValue;
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      return softgpu::EndCapture(runtime, &stream, graph);
    });
  });
}

cudaError_t cudaStreamIsCapturing(cudaStream_t handle, cudaStreamCaptureStatus* status) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      *status = Status(stream);
      return softgpu::ImplicitInCapture(runtime, stream);
    });
  });
}

cudaError_t cudaStreamGetCaptureInfo(cudaStream_t handle, cudaStreamCaptureStatus* status,
                                     unsigned long long* id, cudaGraph_t* graph,
                                     const cudaGraphNode_t** after, const cudaGraphEdgeData** edges,
                                     size_t* count) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      *status = Status(stream);
      if (edges != nullptr) *edges = nullptr;
      if (!stream.capture) return softgpu::ImplicitInCapture(runtime, stream);
      if (id != nullptr) *id = stream.capture->id;
      if (graph != nullptr) *graph = stream.capture->graph;
      if (after != nullptr) *after = stream.capture_after.data();
      if (count != nullptr) *count = stream.capture_after.size();
      return cudaSuccess;
    });
  });
}

cudaError_t cudaStreamUpdateCaptureDependencies(cudaStream_t handle, cudaGraphNode_t* after,
                                                const cudaGraphEdgeData*, size_t count,
                                                unsigned flags) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return WithStream(runtime, handle, [&](CUstream_st& stream) {
      if (!stream.capture) return cudaErrorIllegalState;
      if (flags == cudaStreamSetCaptureDependencies) stream.capture_after.clear();
      stream.capture_after.insert(stream.capture_after.end(), after, after + count);
      return cudaSuccess;
    });
  });
}

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  return SOFTGPU_CALL([=](Runtime&, const CallSite&) {
    if (mode == nullptr) return cudaErrorInvalidValue;
    std::swap(*mode, softgpu::ThreadCaptureMode());
    return cudaSuccess;
  });
}

}  // extern "C"
