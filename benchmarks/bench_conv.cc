// The convolutions of L-Seg by every engine that takes them: 1440x960 for inference, 448x448 in all
// three directions for training, in the formats that a net has for them on this machine, in f32
// and, where the processor multiplies it, bf16.
//
//   bench_conv --benchmark_filter='1440x960/forward/f32' --benchmark_repetitions=5
//
// Names read layer/size/direction/type/engine. GFLOPS counts two operations a multiply-add of the
// direct algorithm, whatever the engine does, so that engines compare. Threads: LSEG_BENCH_THREADS,
// or all.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/conv.h"
#include "kernels/conv_dtypes.h"
#include "kernels/runtime/buffer.h"

namespace lseg {
namespace {

struct Layer {
  const char* name;
  int64_t in, out, scale;  // scale: the input is the image divided by it, rounded up
};

constexpr Layer kLayers[] = {
    {"conv1_1", 3, 64, 1},     {"conv1_2", 64, 64, 1},    {"conv2_1", 64, 128, 2},
    {"conv2_2", 128, 128, 2},  {"conv3_1", 128, 256, 4},  {"conv3_2", 256, 256, 4},
    {"conv3_3", 256, 256, 4},  {"conv4_1", 256, 512, 8},  {"conv4_2", 512, 512, 8},
    {"conv4_3", 512, 512, 8},  {"conv5_1", 512, 512, 16}, {"conv5_2", 512, 512, 16},
    {"conv5_3", 512, 512, 16}, {"score_dsn1", 64, 4, 1},  {"score_dsn4", 512, 4, 8},
};

// Values in [-1, 1), by a linear congruential generator: quick, and quality does not matter.
Buffer Noise(int64_t count, DType dtype = DType::kF32) {
  Buffer buffer(Device::kCpu, count * SizeOf(dtype));
  uint32_t state = 1;
  const auto next = [&] {
    state = state * 1664525 + 1013904223;
    return static_cast<float>(static_cast<int32_t>(state)) * 0x1p-31f;
  };
  if (dtype == DType::kF32) {
    std::generate_n(static_cast<float*>(buffer.data()), count, next);
  } else {
    std::generate_n(static_cast<uint16_t*>(buffer.data()), count,
                    [&] { return F32ToBF16(next()); });
  }
  return buffer;
}

int Threads() {
  const char* text = std::getenv("LSEG_BENCH_THREADS");
  return text ? std::atoi(text) : 0;
}

void RunLayer(benchmark::State& state, ConvParams params, ConvDirection direction,
              ConvFormats formats, const std::string& engine) {
  Context context(Device::kCpu, Threads());
  const auto plan = MakeConvPlan(context, params, direction, formats, engine);
  const Buffer src = Noise(StorageCount(params.src, formats.src), formats.src_dtype);
  const Buffer dst = Noise(StorageCount(params.Dst(), formats.dst), formats.dst_dtype);
  const Buffer weight = Noise(params.Weight().Count()), bias = Noise(params.out_channels);
  const Buffer packed(Device::kCpu, plan->PackedWeightBytes());
  const Buffer workspace(Device::kCpu, plan->WorkspaceBytes(GradMode::kWrite));
  ConvArgs args;
  args.weight = weight.data();
  if (packed.bytes() > 0) {
    plan->PackWeights(context, static_cast<const float*>(weight.data()), packed.data());
    args.weight = packed.data();
  }
  args.src = args.d_src = src.data();
  args.dst = dst.data();
  args.d_dst = args.dst;
  args.bias = args.d_bias = static_cast<float*>(bias.data());
  args.d_weight = static_cast<float*>(weight.data());
  args.d_src_mode = args.d_weight_mode = GradMode::kWrite;
  args.workspace = workspace.data();
  for (auto _ : state) plan->Run(context, args);
  state.counters["GFLOPS"] = benchmark::Counter(2e-9 * static_cast<double>(params.MultiplyAdds()),
                                                benchmark::Counter::kIsIterationInvariantRate);
  state.counters["workspace_MB"] = static_cast<double>(workspace.bytes()) * 1e-6;
}

void Register(const Context& context, const Layer& layer, int64_t width, int64_t height,
              ConvDirection direction, DType dtype) {
  const bool score = layer.out == 4;
  const int64_t kernel = score ? 1 : 3;
  const ConvParams params = {.src = {1, layer.in, (height + layer.scale - 1) / layer.scale,
                                     (width + layer.scale - 1) / layer.scale},
                             .out_channels = layer.out,
                             .kernel_h = kernel,
                             .kernel_w = kernel,
                             .pad_h = kernel / 2,
                             .pad_w = kernel / 2,
                             .relu = !score && direction == ConvDirection::kForward};
  const Format format = FormatOfConvs(context, dtype);
  const ConvFormats formats = {layer.in == 3 ? Format::kNCHW : format,
                               score ? Format::kNCHW : format, layer.in == 3 ? DType::kF32 : dtype,
                               score ? DType::kF32 : dtype};
  for (const std::string& engine : EligibleConvEngines(context, params, direction, formats)) {
    if (engine == "reference") continue;
    std::string words = ToString(direction);
    std::replace(words.begin(), words.end(), ' ', '_');
    const std::string name = std::string(layer.name) + '/' + std::to_string(width) + 'x' +
                             std::to_string(height) + '/' + words + '/' + ToString(dtype) + '/' +
                             engine;
    benchmark::RegisterBenchmark(name.c_str(), RunLayer, params, direction, formats, engine)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime()
        ->MeasureProcessCPUTime()
        ->ComputeStatistics("min", [](const std::vector<double>& values) {
          return *std::min_element(values.begin(), values.end());
        });
  }
}

void RegisterAll() {
  const Context context(Device::kCpu, Threads());
  benchmark::AddCustomContext("machine", context.Describe());
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    if (!MissingForConvs(context, dtype).empty()) continue;
    for (const Layer& layer : kLayers) {
      Register(context, layer, 1440, 960, ConvDirection::kForward, dtype);
      Register(context, layer, 448, 448, ConvDirection::kForward, dtype);
      if (layer.in > 3) Register(context, layer, 448, 448, ConvDirection::kBackwardData, dtype);
      Register(context, layer, 448, 448, ConvDirection::kBackwardWeights, dtype);
    }
  }
}

}  // namespace
}  // namespace lseg

int main(int argc, char** argv) {
  lseg::RegisterAll();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
