// Events. Times are simulated: see cost.cc.
#include <cuda_runtime_api.h>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/graph.h"
#include "tests/softgpu/runtime/launch.h"
#include "tests/softgpu/runtime/runtime.h"

namespace {

using softgpu::CallSite;
using softgpu::Runtime;

cudaError_t Create(Runtime& runtime, cudaEvent_t* event, unsigned flags) {
  if (event == nullptr) return cudaErrorInvalidValue;
  if (flags & cudaEventInterprocess) {
    return softgpu::NotSupported("cudaEventCreateWithFlags", "events between processes");
  }
  *event = runtime.streams.CreateEvent(flags);
  return cudaSuccess;
}

cudaError_t Record(Runtime& runtime, cudaEvent_t event, cudaStream_t handle, unsigned flags,
                   const CallSite& site) {
  cudaStream_t stream = runtime.streams.Find(handle);
  if (!runtime.streams.IsEvent(event) || stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture) {
    if (stream->capture->invalid) return cudaErrorStreamCaptureInvalidated;
    if (flags & cudaEventRecordExternal) {
      cudaGraphNode_t node = softgpu::AddNode(*stream->capture->graph, cudaGraphNodeTypeEventRecord,
                                              softgpu::NoWork{}, stream->capture_after, site);
      node->event = event;
      return softgpu::AddCapturedNode(*stream, node);
    }
    event->capture = stream->capture;
    event->capture_after = stream->capture_after;
    return cudaSuccess;
  }
  softgpu::OpPtr op;
  const cudaError_t error = softgpu::Submit(runtime, handle, softgpu::NoWork{}, site, &op);
  if (error != cudaSuccess) return error;
  event->capture.reset();
  event->capture_after.clear();
  event->op = op;
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaEventCreate(cudaEvent_t* event) {
  return SOFTGPU_CALL(
      [=](Runtime& runtime, const CallSite&) { return Create(runtime, event, cudaEventDefault); });
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  return SOFTGPU_CALL(
      [=](Runtime& runtime, const CallSite&) { return Create(runtime, event, flags); });
}

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    return runtime.streams.DestroyEvent(event) ? cudaSuccess : cudaErrorInvalidResourceHandle;
  });
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return Record(runtime, event, stream, cudaEventRecordDefault, site);
  });
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned flags) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite& site) {
    return Record(runtime, event, stream, flags, site);
  });
}

cudaError_t cudaEventQuery(cudaEvent_t event) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (!runtime.streams.IsEvent(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture) return cudaErrorCapturedEvent;
    const cudaError_t error = softgpu::UnsafeInCapture(runtime);
    if (error != cudaSuccess) return error;
    return runtime.streams.Poll(runtime, {event->op}) ? cudaSuccess : cudaErrorNotReady;
  });
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (!runtime.streams.IsEvent(event)) return cudaErrorInvalidResourceHandle;
    if (event->capture) return cudaErrorCapturedEvent;
    const cudaError_t error = softgpu::UnsafeInCapture(runtime);
    if (error != cudaSuccess) return error;
    runtime.streams.Wait(runtime, {event->op});
    return cudaSuccess;
  });
}

cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t start, cudaEvent_t end) {
  return SOFTGPU_CALL([=](Runtime& runtime, const CallSite&) {
    if (ms == nullptr) return cudaErrorInvalidValue;
    if (!runtime.streams.IsEvent(start) || !runtime.streams.IsEvent(end) || !start->op ||
        !end->op || ((start->flags | end->flags) & cudaEventDisableTiming)) {
      return cudaErrorInvalidResourceHandle;
    }
    if (!start->op->done || !end->op->done) return cudaErrorNotReady;
    *ms = static_cast<float>((end->op->end - start->op->end) * 1e3);
    return cudaSuccess;
  });
}

}  // extern "C"
