#include "tests/softgpu/runtime/capture.h"

#include <algorithm>
#include <set>

namespace softgpu {

cudaStreamCaptureMode& ThreadCaptureMode() {
  thread_local cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  return mode;
}

cudaError_t BeginCapture(Runtime& runtime, cudaStream_t stream, cudaStreamCaptureMode mode,
                         cudaGraph_t graph, std::vector<cudaGraphNode_t> after) {
  if (stream->legacy) return cudaErrorStreamCaptureUnsupported;
  if (stream->capture) return cudaErrorIllegalState;
  auto capture = std::make_shared<Capture>();
  static uint64_t captures_made = 0;
  capture->id = ++captures_made;
  if (graph == nullptr) {
    capture->own = std::make_unique<CUgraph_st>();
    graph = capture->own.get();
  }
  capture->graph = graph;
  capture->origin = stream;
  capture->streams = {stream};
  capture->mode = mode;
  capture->thread = std::this_thread::get_id();
  stream->capture = capture;
  stream->capture_after = std::move(after);
  runtime.captures.push_back(std::move(capture));
  return cudaSuccess;
}

cudaError_t EndCapture(Runtime& runtime, cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const std::shared_ptr<Capture> capture = stream->capture;
  if (!capture) return cudaErrorIllegalState;
  if (capture->origin != stream) return cudaErrorStreamCaptureUnmatched;
  if (capture->mode != cudaStreamCaptureModeRelaxed &&
      capture->thread != std::this_thread::get_id()) {
    return cudaErrorStreamCaptureWrongThread;
  }
  // Everything that the origin's next node would come after, directly or not.
  std::set<cudaGraphNode_t> joined;
  std::vector<cudaGraphNode_t> open = stream->capture_after;
  while (!open.empty()) {
    cudaGraphNode_t node = open.back();
    open.pop_back();
    if (!joined.insert(node).second) continue;
    open.insert(open.end(), node->after.begin(), node->after.end());
  }
  bool unjoined = false;
  for (cudaStream_t other : capture->streams) {
    for (cudaGraphNode_t node : other->capture_after) unjoined |= joined.count(node) == 0;
    other->capture.reset();
    other->capture_after.clear();
  }
  std::erase(runtime.captures, capture);
  capture->ended = true;
  if (capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (unjoined) return cudaErrorStreamCaptureUnjoined;
  *graph = capture->own ? capture->own.release() : capture->graph;
  return cudaSuccess;
}

cudaError_t AddCaptured(CUstream_st& stream, Work work, const CallSite& site) {
  if (stream.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (std::holds_alternative<FreeWork>(work)) {
    stream.capture->invalid = true;
    return NotSupported(site.call, "in a captured stream");
  }
  const cudaGraphNodeType type = TypeOf(work);
  return AddCapturedNode(
      stream, AddNode(*stream.capture->graph, type, std::move(work), stream.capture_after, site));
}

cudaError_t AddCapturedNode(CUstream_st& stream, cudaGraphNode_t node) {
  stream.capture_after = {node};
  return cudaSuccess;
}

cudaError_t JoinCapture(CUstream_st& stream, const CUevent_st& event) {
  if (event.capture->ended) return cudaErrorCapturedEvent;
  if (event.capture->invalid) return cudaErrorStreamCaptureInvalidated;
  if (stream.legacy) return cudaErrorStreamCaptureImplicit;
  if (stream.capture && stream.capture != event.capture) {
    stream.capture->invalid = event.capture->invalid = true;
    return cudaErrorStreamCaptureMerge;
  }
  if (!stream.capture) {
    stream.capture = event.capture;
    stream.capture->streams.push_back(&stream);
  }
  for (cudaGraphNode_t node : event.capture_after) {
    if (std::find(stream.capture_after.begin(), stream.capture_after.end(), node) ==
        stream.capture_after.end()) {
      stream.capture_after.push_back(node);
    }
  }
  return cudaSuccess;
}

void LeaveCaptures(Runtime& runtime, cudaStream_t stream) {
  const std::shared_ptr<Capture> capture = stream->capture;
  if (!capture) return;
  capture->invalid = true;
  std::erase(capture->streams, stream);
  if (capture->origin != stream) return;
  for (cudaStream_t other : capture->streams) {
    other->capture.reset();
    other->capture_after.clear();
  }
  std::erase(runtime.captures, capture);
}

cudaError_t ImplicitInCapture(Runtime& runtime, const CUstream_st& stream) {
  if (!stream.legacy) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const std::shared_ptr<Capture>& capture : runtime.captures) {
    if (!capture->origin->blocking()) continue;
    capture->invalid = true;
    error = cudaErrorStreamCaptureImplicit;
  }
  return error;
}

cudaError_t UnsafeInCapture(Runtime& runtime) {
  const cudaStreamCaptureMode mode = ThreadCaptureMode();
  if (mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  cudaError_t error = cudaSuccess;
  for (const std::shared_ptr<Capture>& capture : runtime.captures) {
    const bool mine = capture->thread == std::this_thread::get_id() &&
                      capture->mode != cudaStreamCaptureModeRelaxed;
    const bool everyones =
        mode == cudaStreamCaptureModeGlobal && capture->mode == cudaStreamCaptureModeGlobal;
    if (!mine && !everyones) continue;
    capture->invalid = true;
    error = cudaErrorStreamCaptureUnsupported;
  }
  return error;
}

cudaError_t WaitInCapture(const CUstream_st& stream) {
  if (!stream.capture) return cudaSuccess;
  stream.capture->invalid = true;
  return cudaErrorStreamCaptureUnsupported;
}

}  // namespace softgpu
