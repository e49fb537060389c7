#include "kernels/runtime/context.h"

#include <omp.h>

#include <fstream>

#include "kernels/runtime/cpus.h"

#if LSEG_WITH_CUDA
#include "kernels/cuda/device.h"
#endif

namespace lseg {
namespace {

std::string ProcessorName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown processor";
}

bool HasAvx512() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
#else
  return false;
#endif
}

}  // namespace

Context::Context(Device device, int threads)
    : device_(device),
      threads_(threads > 0 ? threads : DefaultThreads()),
      blocked_format_(HasAvx512() ? Format::kNChw16c : Format::kNChw8c) {
  omp_set_num_threads(threads_);
  if (device_ == Device::kCpu) return;
  blocked_format_ = Format::kNHWC;
#if LSEG_WITH_CUDA
  stream_ = cuda::OpenStream();
#else
  LSEG_FAIL(
      "device cuda: this program was built without CUDA; build it where nvcc is found, or use "
      "--device cpu");
#endif
}

Context Context::OfOneThread() const {
  Context one = *this;
  one.threads_ = 1;
  return one;
}

void Context::Synchronize() const {
#if LSEG_WITH_CUDA
  if (stream_ != nullptr) cuda::Synchronize(*stream_);
#endif
}

bool BuiltWithCuda() {
#if LSEG_WITH_CUDA
  return true;
#else
  return false;
#endif
}

std::string ToString(Device device) { return device == Device::kCpu ? "cpu" : "cuda"; }

std::string Context::Describe() const {
#if LSEG_WITH_CUDA
  if (stream_ != nullptr) return cuda::Describe(*stream_);
#endif
  std::ostringstream out;
  out << ProcessorName() << ", " << (HasAvx512() ? "AVX-512" : "no AVX-512") << ", " << threads_
      << (threads_ == 1 ? " thread" : " threads");
  return out.str();
}

}  // namespace lseg
