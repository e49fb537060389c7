// What bench_gpu's parts share: the clock, the memory that ops are timed on, and the report.
//
// A figure is the median of several batches, each recorded as a CUDA graph so that the host's part
// in a launch stays out, and timed by events. Ops rotate through copies of their tensors that are
// together larger than the cache, on random data: neither old data nor zeros flatter a time.
#pragma once

#include <cstdint>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "kernels/runtime/buffer.h"
#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct GpuBench {
  Context& context;
  std::string json{};      // file for the figures, may be empty
  std::string only{};      // cases whose name holds this
  int reps = 7;            // batches of a figure
  bool quick = false;      // the published size alone
  bool libraries = false;  // cuDNN's and cuBLAS's engines, too
  bool unproven = false;   // and those that no GPU has run yet
  // Every op once, and small enough for a GPU in software, whose report says what kernels cost: no
  // figures of time.
  bool costs = false;
  double copy_gb_s = 0, bf16_tflops = 0, tf32_tflops = 0;  // the ceilings, measured first
  nlohmann::ordered_json convolutions = nlohmann::ordered_json::array();
  nlohmann::ordered_json memory_ops = nlohmann::ordered_json::array();

  bool Wanted(const std::string& name) const { return name.find(only) != std::string::npos; }
  // Writes what is known by now.
  void Save() const;
  // Milliseconds of one op; op(i) queues the i-th run, each on tensors of its own (Tensors).
  double MedianMs(const std::function<void(int)>& op) const;
};

// One tensor of an op: elements uniform in [low, high); u8: 0, and in one of 64 elements 1..high.
struct TensorSpec {
  int64_t count = 0;
  DType dtype = DType::kF32;
  float low = -1, high = 1;
};

// Copies of the tensors of an op.
class Tensors {
 public:
  Tensors(GpuBench& bench, const std::vector<TensorSpec>& specs);
  // Of the run-th run.
  template <class T = void>
  T* At(int run, size_t tensor) const {
    return static_cast<T*>(buffers_[static_cast<size_t>(run % copies_) * specs_ + tensor].data());
  }

 private:
  size_t specs_;
  int copies_;
  std::vector<Buffer> buffers_;
};

int64_t BytesOf(const std::vector<TensorSpec>& specs);
// `op` on tensors made from `specs`, of which it reads or writes `bytes` in all.
void Measure(GpuBench& bench, const std::string& name, const std::vector<TensorSpec>& specs,
             int64_t bytes, const std::function<void(const Tensors&, int)>& op);

// Both directions counted, of a copy within the device's memory.
double CopyBandwidth(GpuBench& bench);
// Every convolution of L-Seg, direction, size and type, by every engine; the fastest of each summed
// up over the net.
void BenchConvolutions(GpuBench& bench);
nlohmann::ordered_json NetTotals(const GpuBench& bench);
// All other ops.
void BenchMemoryOps(GpuBench& bench);
// Of these, rarer ones: a map of a stage in NHWC, and a side map, at the size that `at` names.
void BenchRareOps(GpuBench& bench, const Shape& stage, const Shape& map, const std::string& at);

}  // namespace lseg
