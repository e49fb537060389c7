// Times the GPU's kernels one by one beside what this very GPU can do at most: its copy bandwidth
// and its rate of mma.sync, measured first. A table for people, --json for records.
//
//   bench_gpu --only "conv3_2 forward" --reps 15
#include "benchmarks/bench_gpu.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iostream>

#include "benchmarks/bench_gpu_peak.h"
#include "kernels/conv_libraries.h"
#include "kernels/cuda/launch.h"
#include "kernels/runtime/integers.h"
#include "kernels/runtime/recording.h"
#include "tools/tool.h"

namespace lseg {
namespace {

// The time between two places of a stream.
class Stopwatch {
 public:
  explicit Stopwatch(cudaStream_t stream) : stream_(stream) {
    LSEG_CUDA_CHECK(cudaEventCreate(&begin_));
    LSEG_CUDA_CHECK(cudaEventCreate(&end_));
  }
  ~Stopwatch() {
    cudaEventDestroy(begin_);
    cudaEventDestroy(end_);
  }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

  double Milliseconds(const std::function<void()>& queue) {
    LSEG_CUDA_CHECK(cudaEventRecord(begin_, stream_));
    queue();
    LSEG_CUDA_CHECK(cudaEventRecord(end_, stream_));
    LSEG_CUDA_CHECK(cudaEventSynchronize(end_));
    float milliseconds = 0;
    LSEG_CUDA_CHECK(cudaEventElapsedTime(&milliseconds, begin_, end_));
    return milliseconds;
  }

 private:
  cudaStream_t stream_;
  cudaEvent_t begin_ = nullptr, end_ = nullptr;
};

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const size_t half = values.size() / 2;
  return values.size() % 2 == 1 ? values[half] : (values[half - 1] + values[half]) / 2;
}

}  // namespace

double GpuBench::MedianMs(const std::function<void(int)>& op) const {
  constexpr double kBatchMs = 4;
  constexpr int kMostRuns = 64;
  if (costs) {
    op(0);
    context.Synchronize();
    return 1;
  }
  Stopwatch watch(cuda::StreamOf(context));
  op(0);  // loads the code
  const double once = watch.Milliseconds([&] { op(1); });
  const int batch =
      static_cast<int>(std::clamp(kBatchMs / std::max(once, 1e-3), 1.0, 1.0 * kMostRuns));
  const Recording recording(context, [&] {
    for (int i = 0; i < batch; ++i) op(2 + i);
  });
  recording.Replay(context);
  std::vector<double> times;
  for (int i = 0; i < reps; ++i) {
    times.push_back(watch.Milliseconds([&] { recording.Replay(context); }) / batch);
  }
  context.Synchronize();
  return Median(times);
}

void GpuBench::Save() const {
  if (json.empty()) return;
  const nlohmann::ordered_json report{
      {"context", context.Describe()},  {"copy_gb_per_s", copy_gb_s},
      {"mma_bf16_tflops", bf16_tflops}, {"mma_tf32_tflops", tf32_tflops},
      {"net_totals", NetTotals(*this)}, {"memory_ops", memory_ops},
      {"convolutions", convolutions}};
  std::ofstream file(json);
  file << report.dump(1) << "\n";
  file.close();
  LSEG_CHECK(file.good(), "cannot write " << json);
}

Tensors::Tensors(GpuBench& bench, const std::vector<TensorSpec>& specs) : specs_(specs.size()) {
  // Four times the largest cache of a GPU of today.
  constexpr int64_t kBytes = int64_t{200} << 20;
  constexpr int64_t kMostCopies = 32;
  int64_t bytes = 0;
  for (const TensorSpec& spec : specs) bytes += spec.count * SizeOf(spec.dtype);
  const int64_t wanted = bytes > 0 ? CeilDiv(kBytes, bytes) : 1;
  copies_ = bench.costs ? 1 : static_cast<int>(std::clamp<int64_t>(wanted, 1, kMostCopies));
  for (int copy = 0; copy < copies_; ++copy) {
    for (const TensorSpec& spec : specs) {
      buffers_.emplace_back(bench.context.device(), spec.count * SizeOf(spec.dtype));
      if (spec.count == 0) continue;
      const uint32_t seed = static_cast<uint32_t>(buffers_.size()) * 0x9e3779b9;
      if (spec.dtype == DType::kI32) {
        SetZero(bench.context.device(), buffers_.back().data(), buffers_.back().bytes());
      } else {
        FillRandom(bench.context, buffers_.back().data(), spec.count, spec.dtype, spec.low,
                   spec.high, seed);
      }
    }
  }
}

double CopyBandwidth(GpuBench& bench) {
  const int64_t bytes = int64_t{2} << 30;
  const Tensors tensors(bench, {{bytes / 4}, {bytes / 4}});
  const double ms = bench.MedianMs([&](int run) {
    LSEG_CUDA_CHECK(cudaMemcpyAsync(tensors.At(run, 1), tensors.At(run, 0), bytes,
                                    cudaMemcpyDeviceToDevice, cuda::StreamOf(bench.context)));
  });
  return 2.0 * static_cast<double>(bytes) / ms / 1e6;
}

namespace {

double MatrixPeak(GpuBench& bench, DType dtype) {
  const Tensors scratch(bench, {{1}});
  constexpr int kRounds = 8192;
  double operations = 0;
  const double ms = bench.MedianMs([&](int run) {
    operations = QueueMatrixProducts(bench.context, dtype, kRounds, scratch.At<float>(run, 0));
  });
  return operations / ms / 1e9;
}

void Run(GpuBench& bench) {
  std::printf("%s\n", bench.context.Describe().c_str());
  if (bench.costs) {
    BenchMemoryOps(bench);
    BenchConvolutions(bench);
    return;
  }
  bench.copy_gb_s = CopyBandwidth(bench);
  bench.bf16_tflops = MatrixPeak(bench, DType::kBF16);
  bench.tf32_tflops = MatrixPeak(bench, DType::kF32);
  std::printf("copy %.0f GB/s, mma.sync bf16 %.1f TFLOP/s, tf32 %.1f TFLOP/s\n", bench.copy_gb_s,
              bench.bf16_tflops, bench.tf32_tflops);
  BenchMemoryOps(bench);
  bench.Save();
  BenchConvolutions(bench);
  std::printf("%s\n", NetTotals(bench).dump(1).c_str());
}

int Main(int argc, char** argv) {
  cxxopts::Options flags("bench_gpu",
                         "Times the GPU's kernels beside what the GPU can do at most.");
  flags.add_options()                                                                            //
      ("json", "file for the figures", cxxopts::value<std::string>()->default_value(""))         //
      ("only", "cases whose name holds this", cxxopts::value<std::string>()->default_value(""))  //
      ("reps", "batches a figure is the median of", cxxopts::value<int>()->default_value("7"))   //
      ("libraries", "convolutions by cuDNN and cuBLAS, too")                                     //
      ("unproven", "convolutions by engines that no GPU has run yet, too")                       //
      ("quick", "1440x960 alone")                                                                //
      ("costs", "every op once at small sizes, for the report of a GPU in software")             //
      ("help", "this text");
  const cxxopts::ParseResult parsed = flags.parse(argc, argv);
  if (parsed.count("help") > 0) {
    std::cout << flags.help();
    return 0;
  }
  Context context(Device::kCuda);
  GpuBench bench{context};
  bench.json = parsed["json"].as<std::string>();
  bench.only = parsed["only"].as<std::string>();
  bench.reps = parsed["reps"].as<int>();
  bench.libraries = parsed.count("libraries") > 0;
  bench.unproven = parsed.count("unproven") > 0;
  bench.quick = parsed.count("quick") > 0;
  bench.costs = parsed.count("costs") > 0;
  if (bench.libraries) {  // says at once where they are missing
    LibraryConvEngines(context, {.src = {1, 8, 8, 8}, .out_channels = 8}, ConvDirection::kForward,
                       {});
  }
  LSEG_CHECK(bench.reps > 0, "--reps " << bench.reps << " must be positive");
  Run(bench);
  return 0;
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) { return lseg::RunTool(argc, argv, lseg::Main); }
