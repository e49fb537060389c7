// Context: where ops run. One device, one stream of work, a number of threads.
//
// It holds no memory: every op says how many bytes of workspace it needs and is handed them, so that
// peak memory is known before anything runs.
#pragma once

#include <string>

#include "kernels/runtime/shape.h"

namespace lseg {

enum class Device { kCpu };

class Context {
 public:
  // threads 0: as many as the process may use (affinity mask and cgroup quota respected). Sets the
  // OpenMP thread count of the calling thread, which is the one that must run the ops.
  explicit Context(Device device = Device::kCpu, int threads = 0);

  Device device() const { return device_; }
  int threads() const { return threads_; }

  // The blocked activation format of this machine's vectors, taken between convolutions:
  // kNChw16c with AVX-512, else kNChw8c.
  Format blocked_format() const { return blocked_format_; }

  // One line for logs and benchmark files: processor, vector extensions, threads.
  std::string Describe() const;

 private:
  Device device_;
  int threads_;
  Format blocked_format_;
};

// How an op treats memory that it gives a gradient to.
enum class GradMode {
  kSkip,   // the gradient is not wanted: the pointer may be null and is not touched
  kWrite,  // overwrite
  kAdd,    // add to what is there
};

}  // namespace lseg
