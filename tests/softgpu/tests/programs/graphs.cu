// Graphs by capture and by hand, replayed, changed, updated.
#include <vector>

#include "program.h"

namespace {

constexpr int kN = 200;
constexpr size_t kBytes = kN * sizeof(int);

int *a, *b;
cudaStream_t stream;

std::vector<int> Read(const int* device) {
  std::vector<int> host(kN);
  OK(cudaMemcpyAsync(host.data(), device, kBytes, cudaMemcpyDeviceToHost, stream));
  return host;
}

bool Holds(const int* device, int value) { return Read(device) == std::vector<int>(kN, value); }

void TestCapture() {
  cudaStream_t side;
  cudaEvent_t fork, join;
  OK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  OK(cudaEventCreate(&fork));
  OK(cudaEventCreate(&join));
  Fill<<<1, 64, 0, stream>>>(a, kN, 0);
  cudaGraph_t graph;
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  cudaStreamCaptureStatus status;
  OK(cudaStreamIsCapturing(stream, &status));
  CHECK(status == cudaStreamCaptureStatusActive);
  OK(cudaEventRecord(fork, stream));
  OK(cudaStreamWaitEvent(side, fork, 0));
  OK(cudaMemsetAsync(b, 0, kBytes, side));
  Fill<<<1, 64, 0, side>>>(b, kN, 1);
  OK(cudaEventRecord(join, side));
  OK(cudaStreamWaitEvent(stream, join, 0));
  Add<<<1, 64, 0, stream>>>(a, b, kN);
  size_t count = 0;
  OK(cudaStreamGetCaptureInfo(stream, &status, nullptr, nullptr, nullptr, nullptr, &count));
  CHECK(count == 1);
  OK(cudaStreamEndCapture(stream, &graph));
  CHECK(Holds(a, 0));  // nothing ran
  OK(cudaGraphGetNodes(graph, nullptr, &count));
  CHECK(count == 3);
  size_t edges = 0;
  OK(cudaGraphGetEdges(graph, nullptr, nullptr, nullptr, &edges));
  CHECK(edges == 2);
  cudaGraphExec_t exec;
  OK(cudaGraphInstantiate(&exec, graph, 0));
  OK(cudaGraphDestroy(graph));
  for (int i = 0; i < 4; ++i) OK(cudaGraphLaunch(exec, stream));
  // The same executable in another stream comes after its earlier launches.
  OK(cudaGraphLaunch(exec, side));
  OK(cudaStreamSynchronize(side));
  CHECK(Holds(a, 5));
  OK(cudaGraphExecDestroy(exec));
  OK(cudaEventDestroy(fork));
  OK(cudaEventDestroy(join));
  OK(cudaStreamDestroy(side));
}

void TestForbidden() {
  cudaGraph_t graph;
  void* block = nullptr;
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  FAILS(cudaMalloc(&block, 16), cudaErrorStreamCaptureUnsupported);
  FAILS(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeRelaxed));
  OK(cudaMalloc(&block, 16));
  OK(cudaFree(block));
  OK(cudaStreamEndCapture(stream, &graph));
  OK(cudaGraphDestroy(graph));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal));
  FAILS(cudaStreamSynchronize(stream), cudaErrorStreamCaptureUnsupported);
  FAILS(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureInvalidated);
  CHECK(graph == nullptr);
  // Work that was forked and not joined.
  cudaStream_t side;
  cudaEvent_t fork;
  OK(cudaStreamCreateWithFlags(&side, cudaStreamNonBlocking));
  OK(cudaEventCreate(&fork));
  OK(cudaStreamBeginCapture(stream, cudaStreamCaptureModeGlobal));
  OK(cudaEventRecord(fork, stream));
  OK(cudaStreamWaitEvent(side, fork, 0));
  Fill<<<1, 64, 0, side>>>(b, kN, 1);
  FAILS(cudaStreamEndCapture(stream, &graph), cudaErrorStreamCaptureUnjoined);
  OK(cudaEventDestroy(fork));
  OK(cudaStreamDestroy(side));
  // The legacy stream waits for a blocking stream that is captured.
  cudaStream_t blocking;
  OK(cudaStreamCreate(&blocking));
  OK(cudaStreamBeginCapture(blocking, cudaStreamCaptureModeGlobal));
  Fill<<<1, 64>>>(b, kN, 1);
  FAILS(cudaPeekAtLastError(), cudaErrorStreamCaptureImplicit);
  FAILS(cudaStreamEndCapture(blocking, &graph), cudaErrorStreamCaptureInvalidated);
  OK(cudaStreamDestroy(blocking));
}

cudaKernelNodeParams FillParams(void** args) {
  cudaKernelNodeParams params = {};
  params.func = reinterpret_cast<void*>(Fill);
  params.gridDim = dim3(1);
  params.blockDim = dim3(64);
  params.kernelParams = args;
  return params;
}

void TestByHand() {
  int n = kN, value = 6, host[kN] = {};
  void* args[] = {&a, &n, &value};
  cudaGraph_t graph;
  OK(cudaGraphCreate(&graph, 0));
  cudaGraphNode_t fill, zero, join, add, copy, tell;
  cudaKernelNodeParams params = FillParams(args);
  OK(cudaGraphAddKernelNode(&fill, graph, nullptr, 0, &params));
  value = 100;  // arguments were copied
  cudaMemsetParams memset = {};
  memset.dst = b;
  memset.elementSize = 4;
  memset.width = kN;
  memset.height = 1;
  memset.value = 7;
  OK(cudaGraphAddMemsetNode(&zero, graph, nullptr, 0, &memset));
  OK(cudaGraphAddEmptyNode(&join, graph, nullptr, 0));
  const cudaGraphNode_t from[] = {fill, zero}, to[] = {join, join};
  OK(cudaGraphAddDependencies(graph, from, to, nullptr, 2));
  void* add_args[] = {&a, &b, &n};
  params.func = reinterpret_cast<void*>(Add);
  params.kernelParams = add_args;
  OK(cudaGraphAddKernelNode(&add, graph, &join, 1, &params));
  OK(cudaGraphAddMemcpyNode1D(&copy, graph, &add, 1, host, a, kBytes, cudaMemcpyDeviceToHost));
  static int seen;
  seen = 0;
  cudaHostNodeParams host_params = {[](void* p) { seen = static_cast<int*>(p)[kN - 1]; }, host};
  OK(cudaGraphAddHostNode(&tell, graph, &copy, 1, &host_params));
  cudaGraphExec_t exec;
  OK(cudaGraphInstantiateWithFlags(&exec, graph, 0));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(seen == 13 && host[0] == 13);
  // Another value, in the executable alone; then through an update.
  value = 20;
  params = FillParams(args);
  OK(cudaGraphExecKernelNodeSetParams(exec, fill, &params));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(seen == 27);
  cudaKernelNodeParams read;
  OK(cudaGraphKernelNodeGetParams(fill, &read));
  CHECK(*static_cast<int*>(read.kernelParams[2]) == 6 && read.blockDim.x == 64);
  memset.value = 1;
  OK(cudaGraphMemsetNodeSetParams(zero, &memset));
  cudaGraphExecUpdateResultInfo info;
  OK(cudaGraphExecUpdate(exec, graph, &info));
  OK(cudaGraphLaunch(exec, stream));
  OK(cudaStreamSynchronize(stream));
  CHECK(seen == 7);
  cudaGraphNode_t extra;
  OK(cudaGraphAddEmptyNode(&extra, graph, &tell, 1));
  FAILS(cudaGraphExecUpdate(exec, graph, &info), cudaErrorGraphExecUpdateFailure);
  CHECK(info.result == cudaGraphExecUpdateErrorTopologyChanged);
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphAddDependencies(graph, &extra, &fill, nullptr, 1));  // a cycle
  FAILS(cudaGraphInstantiate(&exec, graph, 0), cudaErrorInvalidValue);
  OK(cudaGraphDestroy(graph));
}

void TestChild() {
  int n = kN, value = 3;
  void* args[] = {&a, &n, &value};
  cudaGraph_t inner, outer;
  cudaGraphNode_t fill, child, twice;
  OK(cudaGraphCreate(&inner, 0));
  cudaKernelNodeParams params = FillParams(args);
  OK(cudaGraphAddKernelNode(&fill, inner, nullptr, 0, &params));
  OK(cudaGraphCreate(&outer, 0));
  OK(cudaGraphAddChildGraphNode(&child, outer, nullptr, 0, inner));
  OK(cudaGraphDestroy(inner));
  void* add_args[] = {&a, &a, &n};
  params.func = reinterpret_cast<void*>(Add);
  params.kernelParams = add_args;
  OK(cudaGraphAddKernelNode(&twice, outer, &child, 1, &params));
  cudaGraphExec_t exec;
  OK(cudaGraphInstantiate(&exec, outer, 0));
  OK(cudaGraphLaunch(exec, stream));
  CHECK(Holds(a, 6));
  OK(cudaGraphNodeSetEnabled(exec, twice, 0));
  OK(cudaGraphLaunch(exec, stream));
  CHECK(Holds(a, 3));
  OK(cudaGraphExecDestroy(exec));
  OK(cudaGraphDestroy(outer));
}

}  // namespace

int main() {
  OK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  OK(cudaMalloc(&a, kBytes));
  OK(cudaMalloc(&b, kBytes));
  TestCapture();
  TestForbidden();
  TestByHand();
  TestChild();
  OK(cudaFree(a));
  OK(cudaFree(b));
  OK(cudaStreamDestroy(stream));
  return 0;
}
