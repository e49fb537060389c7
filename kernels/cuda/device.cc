#include "kernels/cuda/device.h"

#include <sstream>

#include "kernels/cuda/launch.h"
#include "kernels/runtime/buffer.h"

namespace lseg::cuda {

class Stream {
 public:
  Stream() {
    int driver = 0, devices = 0;
    cudaDriverGetVersion(&driver);
    LSEG_CHECK(driver > 0,
               "device cuda: no NVIDIA driver is installed on this machine; install one "
               "for CUDA "
                   << CUDART_VERSION / 1000 << " or later, or use --device cpu");
    const cudaError_t status = cudaGetDeviceCount(&devices);
    LSEG_CHECK(status != cudaErrorInsufficientDriver,
               "device cuda: the driver is for CUDA "
                   << driver / 1000 << "." << driver % 1000 / 10 << ", this program needs "
                   << CUDART_VERSION / 1000 << ".0 or later: update the driver");
    LSEG_CHECK(status == cudaSuccess && devices > 0,
               "device cuda: no GPU is visible ("
                   << cudaGetErrorString(status)
                   << "); see nvidia-smi and CUDA_VISIBLE_DEVICES, or "
                      "use --device cpu");
    LSEG_CUDA_CHECK(cudaGetDeviceProperties(&properties_, 0));
    LSEG_CHECK(properties_.major >= 8,
               "device cuda: " << properties_.name << " has compute capability "
                               << properties_.major << "." << properties_.minor
                               << ", 8.0 or later is needed");
    LSEG_CUDA_CHECK(cudaSetDevice(0));
    LSEG_CUDA_CHECK(cudaStreamCreate(&stream_));
    LSEG_CUDA_CHECK(cudaMalloc(reinterpret_cast<void**>(&fault_), sizeof(int32_t)));
    LSEG_CUDA_CHECK(cudaMemset(fault_, 0, sizeof(int32_t)));
    LSEG_CUDA_CHECK(cudaMalloc(&scratch_, kScratchBytes));
  }
  ~Stream() {
    cudaStreamDestroy(stream_);
    cudaFree(fault_);
    cudaFree(scratch_);
  }
  Stream(const Stream&) = delete;
  Stream& operator=(const Stream&) = delete;

  cudaStream_t stream() const { return stream_; }
  int32_t* fault() const { return fault_; }
  void* scratch() const { return scratch_; }
  const cudaDeviceProp& properties() const { return properties_; }

 private:
  cudaDeviceProp properties_;
  cudaStream_t stream_ = nullptr;
  int32_t* fault_ = nullptr;
  void* scratch_ = nullptr;
};

std::shared_ptr<Stream> OpenStream() { return std::make_shared<Stream>(); }

void Synchronize(Stream& stream) {
  LSEG_CUDA_CHECK(cudaStreamSynchronize(stream.stream()));
  int32_t fault = 0;
  CopyToHost(&fault, stream.fault(), sizeof(fault));
  if (fault == 0) return;
  SetZero(stream.fault(), sizeof(fault));
  LSEG_CHECK(fault != static_cast<int32_t>(DeviceFault::kBadLabel),
             "a label has a value that is no class of this net; see lseg_prep check for which");
  LSEG_FAIL("a kernel reported the unknown fault " << fault);
}

std::string Describe(const Stream& stream) {
  int driver = 0;
  LSEG_CUDA_CHECK(cudaDriverGetVersion(&driver));
  const cudaDeviceProp& gpu = stream.properties();
  std::ostringstream out;
  out << gpu.name << ", compute capability " << gpu.major << "." << gpu.minor << ", "
      << gpu.multiProcessorCount << " multiprocessors, driver for CUDA " << driver / 1000 << "."
      << driver % 1000 / 10;
  return out.str();
}

void ReadMemory(int64_t* free, int64_t* total) {
  size_t free_bytes = 0, all_bytes = 0;
  LSEG_CUDA_CHECK(cudaMemGetInfo(&free_bytes, &all_bytes));
  *free = static_cast<int64_t>(free_bytes);
  *total = static_cast<int64_t>(all_bytes);
}

void* Allocate(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMalloc(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the caller may go on with less
    int64_t free = 0, total = 0;
    ReadMemory(&free, &total);
    throw OutOfMemory("out of memory on the GPU: " + std::to_string(bytes) +
                      " bytes could not be allocated, " + std::to_string(free) + " of " +
                      std::to_string(total) + " are free");
  }
  LSEG_CUDA_CHECK(status);
  return memory;
}

void Free(void* memory) { cudaFree(memory); }

void* AllocatePinned(int64_t bytes) {
  void* memory = nullptr;
  const cudaError_t status = cudaMallocHost(&memory, static_cast<size_t>(bytes));
  if (status == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // as in Allocate
    throw OutOfMemory("out of memory: " + std::to_string(bytes) +
                      " bytes of page-locked memory could not be allocated");
  }
  LSEG_CUDA_CHECK(status);
  return memory;
}

void FreePinned(void* memory) { cudaFreeHost(memory); }

void CopyToDevice(void* to, const void* from, int64_t bytes) {
  LSEG_CUDA_CHECK(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice));
}

void CopyToHost(void* to, const void* from, int64_t bytes) {
  LSEG_CUDA_CHECK(cudaMemcpy(to, from, static_cast<size_t>(bytes), cudaMemcpyDeviceToHost));
}

void SetZero(void* memory, int64_t bytes) {
  LSEG_CUDA_CHECK(cudaMemset(memory, 0, static_cast<size_t>(bytes)));
}

void QueueZero(Stream& stream, void* memory, int64_t bytes) {
  LSEG_CUDA_CHECK(cudaMemsetAsync(memory, 0, static_cast<size_t>(bytes), stream.stream()));
}

void QueueCopyToDevice(Stream& stream, void* to, const void* from, int64_t bytes) {
  LSEG_CUDA_CHECK(cudaMemcpyAsync(to, from, static_cast<size_t>(bytes), cudaMemcpyHostToDevice,
                                  stream.stream()));
}

class EventHandle {
 public:
  EventHandle() { LSEG_CUDA_CHECK(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming)); }
  ~EventHandle() { cudaEventDestroy(event_); }
  EventHandle(const EventHandle&) = delete;
  EventHandle& operator=(const EventHandle&) = delete;
  cudaEvent_t event() const { return event_; }

 private:
  cudaEvent_t event_ = nullptr;
};

std::shared_ptr<EventHandle> MakeEvent() { return std::make_shared<EventHandle>(); }

void SetEvent(EventHandle& event, Stream& stream) {
  LSEG_CUDA_CHECK(cudaEventRecord(event.event(), stream.stream()));
}

void WaitFor(const EventHandle& event) { LSEG_CUDA_CHECK(cudaEventSynchronize(event.event())); }

class GraphExec {
 public:
  explicit GraphExec(cudaGraph_t graph) {
    const cudaError_t status = cudaGraphInstantiate(&exec_, graph, 0);
    cudaGraphDestroy(graph);
    LSEG_CUDA_CHECK(status);
  }
  ~GraphExec() { cudaGraphExecDestroy(exec_); }
  GraphExec(const GraphExec&) = delete;
  GraphExec& operator=(const GraphExec&) = delete;
  cudaGraphExec_t exec() const { return exec_; }

 private:
  cudaGraphExec_t exec_ = nullptr;
};

std::shared_ptr<GraphExec> Record(Stream& stream, const std::function<void()>& queue) {
  LSEG_CUDA_CHECK(cudaStreamBeginCapture(stream.stream(), cudaStreamCaptureModeThreadLocal));
  cudaGraph_t graph = nullptr;
  try {
    queue();
  } catch (...) {
    cudaStreamEndCapture(stream.stream(), &graph);  // ends it; the error that matters is on its way
    cudaGetLastError();
    if (graph != nullptr) cudaGraphDestroy(graph);
    throw;
  }
  LSEG_CUDA_CHECK(cudaStreamEndCapture(stream.stream(), &graph));
  return std::make_shared<GraphExec>(graph);
}

void Replay(Stream& stream, const GraphExec& graph) {
  LSEG_CUDA_CHECK(cudaGraphLaunch(graph.exec(), stream.stream()));
}

cudaStream_t StreamOf(const Context& context) { return context.stream()->stream(); }
int32_t* FaultWord(const Context& context) { return context.stream()->fault(); }
void* Scratch(const Context& context) { return context.stream()->scratch(); }
int Multiprocessors(const Context& context) {
  return context.stream()->properties().multiProcessorCount;
}

bool HasSm90a(const Context& context) {
  const auto& properties = context.stream()->properties();
  return properties.major == 9 && properties.minor == 0;
}

}  // namespace lseg::cuda
