// Stream capture: a stream's calls become nodes of a graph, streams join it through events.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <thread>
#include <vector>

#include "tests/softgpu/runtime/graph.h"
#include "tests/softgpu/runtime/runtime.h"

namespace softgpu {

struct Capture {
  uint64_t id = 0;
  cudaGraph_t graph = nullptr;
  std::unique_ptr<CUgraph_st> own;  // where the graph is not the caller's
  cudaStream_t origin = nullptr;
  std::vector<cudaStream_t> streams;  // with the origin
  cudaStreamCaptureMode mode = cudaStreamCaptureModeGlobal;
  std::thread::id thread;
  bool invalid = false;
  bool ended = false;
};

cudaError_t BeginCapture(Runtime& runtime, cudaStream_t stream, cudaStreamCaptureMode mode,
                         cudaGraph_t graph, std::vector<cudaGraphNode_t> after);
// *graph: nullptr where the capture failed.
cudaError_t EndCapture(Runtime& runtime, cudaStream_t stream, cudaGraph_t* graph);
// Adds to the stream's capture.
cudaError_t AddCaptured(CUstream_st& stream, Work work, const CallSite& site);
cudaError_t AddCapturedNode(CUstream_st& stream, cudaGraphNode_t node);
// The stream joins the event's capture.
cudaError_t JoinCapture(CUstream_st& stream, const CUevent_st& event);
void LeaveCaptures(Runtime& runtime, cudaStream_t stream);  // it is being destroyed

// Work on the legacy stream would order itself with a stream that is being captured: an error, and
// the capture is invalid.
cudaError_t ImplicitInCapture(Runtime& runtime, const CUstream_st& stream);
// For calls that a capture cannot hold (allocation, waiting for the device, ...), by the modes of
// cudaThreadExchangeStreamCaptureMode.
cudaError_t UnsafeInCapture(Runtime& runtime);
// For calls that wait: the stream's capture is invalid then.
cudaError_t WaitInCapture(const CUstream_st& stream);
cudaStreamCaptureMode& ThreadCaptureMode();

}  // namespace softgpu
