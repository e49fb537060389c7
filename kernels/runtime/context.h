// Context: where ops run. One device, one stream of work, a number of threads.
//
// It holds no memory: every op says how many bytes of workspace it needs and is handed them, so
// that peak memory is known before anything runs. On the CPU an op is done when it returns; on a
// GPU it is queued on the context's stream, in order, and what goes wrong there shows in
// Synchronize.
//
// A process may have several contexts, each run by a thread of its own, on the CPU. On a GPU one at
// a time: while a thread records (Recording), copies and SetZero (buffer.h) of any other fail and
// spoil the recording.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "kernels/runtime/shape.h"

namespace lseg {

enum class Device { kCpu, kCuda };

std::string ToString(Device device);  // "cpu", "cuda"

// What a kernel on a GPU found and cannot throw: kept in the context's fault word until Synchronize
// throws it. The first one stays.
enum class DeviceFault : int32_t { kNone = 0, kBadLabel = 1 };

// Whether contexts of kCuda can be made by this build; whether there is a GPU, they say themselves.
bool BuiltWithCuda();

namespace cuda {
class Stream;
}

class Context {
 public:
  // threads 0: as many as the process may use (affinity mask and cgroup quota respected). Sets the
  // OpenMP thread count of the calling thread, which is the one that must run the ops. kCuda: the
  // process' first GPU; an Error says what is missing (CUDA in this build, driver, device).
  explicit Context(Device device = Device::kCpu, int threads = 0);

  Device device() const { return device_; }
  // Null on the CPU.
  cuda::Stream* stream() const { return stream_.get(); }
  // Waits for what was queued; throws Error for what failed there.
  void Synchronize() const;
  int threads() const { return threads_; }
  // The same for ops that run within one of its threads.
  Context OfOneThread() const;

  // The activation format taken between convolutions: on the CPU that of the machine's vectors,
  // kNChw16c with AVX-512, else kNChw8c; kNHWC on a GPU.
  Format blocked_format() const { return blocked_format_; }

  // One line for logs and benchmark files: processor, vector extensions, threads; the GPU and its
  // driver.
  std::string Describe() const;

 private:
  Device device_;
  int threads_;
  Format blocked_format_;
  std::shared_ptr<cuda::Stream> stream_;
};

// How an op treats memory that it gives a gradient to.
enum class GradMode {
  kSkip,   // the gradient is not wanted: the pointer may be null and is not touched
  kWrite,  // overwrite
  kAdd,    // add to what is there
};

}  // namespace lseg
