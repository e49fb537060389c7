// bench_gpu's convolutions: all of L-Seg's, in the formats in which a net on a GPU runs them.
#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>

#include "benchmarks/bench_gpu.h"
#include "kernels/conv.h"
#include "kernels/conv_libraries.h"

namespace lseg {
namespace {

// A convolution of the net that works on 1/shrink of the image's width and height; the net has
// `times` of it.
struct NetConv {
  const char* name;
  int64_t in, out, kernel, shrink;
  int times;
  bool stage_end = false;  // in inference: pooled map and score map in place of the map
};

// The ends of stages stand for convolutions that are in the list already: 0 times.
constexpr NetConv kConvs[] = {
    {"conv1_1", 3, 64, 3, 1, 1},
    {"conv1_2", 64, 64, 3, 1, 1},
    {"conv2_1", 64, 128, 3, 2, 1},
    {"conv2_2", 128, 128, 3, 2, 1},
    {"conv3_1", 128, 256, 3, 4, 1},
    {"conv3_2", 256, 256, 3, 4, 2},
    {"conv4_1", 256, 512, 3, 8, 1},
    {"conv4_2", 512, 512, 3, 8, 2},
    {"conv5_1", 512, 512, 3, 16, 3},
    {"score1", 64, 4, 1, 1, 1},
    {"score2", 128, 4, 1, 2, 1},
    {"score3", 256, 4, 1, 4, 1},
    {"score4", 512, 4, 1, 8, 1},
    {"score5", 512, 4, 1, 16, 1},
    {"fusion", 5, 1, 1, 1, 4},
    {"conv1_2 as stage end", 64, 64, 3, 1, 0, true},
    {"conv2_2 as stage end", 128, 128, 3, 2, 0, true},
    {"conv3_3 as stage end", 256, 256, 3, 4, 0, true},
    {"conv4_3 as stage end", 512, 512, 3, 8, 0, true},
    {"conv5_3 as stage end", 512, 512, 3, 16, 0, true},
};

struct Size {
  int64_t batch, height, width;
};

constexpr int64_t kLesions = 4;

enum class Kind { kBF16, kF16, kTf32, kF32 };
constexpr const char* kKindNames[] = {"bf16", "f16", "tf32", "f32"};

ConvParams ParamsOf(const NetConv& conv, const Size& size, Kind kind) {
  ConvParams params;
  params.src = {size.batch, conv.in, std::max<int64_t>(size.height / conv.shrink, 1),
                std::max<int64_t>(size.width / conv.shrink, 1)};
  params.out_channels = conv.out;
  params.kernel_h = params.kernel_w = conv.kernel;
  params.pad_h = params.pad_w = conv.kernel / 2;
  params.allow_tf32 = kind == Kind::kTf32;
  if (conv.stage_end) {
    params.pooled = conv.shrink < 16;
    params.score_channels = kLesions;
  }
  return params;
}

// The image, the score maps and what follows are NCHW in f32, all between is NHWC in the trunk's
// type.
ConvFormats FormatsOf(const NetConv& conv, Kind kind) {
  const DType trunk = kind == Kind::kBF16  ? DType::kBF16
                      : kind == Kind::kF16 ? DType::kF16
                                           : DType::kF32;
  ConvFormats formats{Format::kNHWC, Format::kNHWC, trunk, trunk};
  if (conv.in <= 5) {
    formats.src = Format::kNCHW;
    formats.src_dtype = DType::kF32;
  }
  if (conv.kernel == 1) {
    formats.dst = Format::kNCHW;
    formats.dst_dtype = DType::kF32;
  }
  return formats;
}

// One convolution in one direction, with memory for all its engines.
class Case {
 public:
  Case(GpuBench& bench, const NetConv& conv, const Size& size, Kind kind, ConvDirection direction)
      : bench_(bench),
        conv_(conv),
        kind_(kind),
        direction_(direction),
        params_(ParamsOf(conv, size, kind)),
        formats_(FormatsOf(conv, kind)) {
    params_.relu = direction == ConvDirection::kForward && conv.kernel == 3;
    size_ = std::to_string(size.width) + "x" + std::to_string(size.height) + " n" +
            std::to_string(size.batch);
    name_ = conv.name + (" " + ToString(direction)) + " " + kKindNames[static_cast<int>(kind)] +
            " " + size_;
    const double weights = static_cast<double>(params_.Weight().Count()) * 4;
    bytes_ = static_cast<double>(SrcBytes() + DstBytes()) + weights;
    operations_ = 2.0 * static_cast<double>(params_.MultiplyAdds());
  }

  void Run() {
    std::vector<std::string> engines =
        EligibleConvEngines(bench_.context, params_, direction_, formats_);
    if (bench_.libraries) {
      const auto more = LibraryConvEngines(bench_.context, params_, direction_, formats_);
      engines.insert(engines.end(), more.begin(), more.end());
    }
    for (const std::string& engine : engines) {
      if (!bench_.Wanted(name_ + " " + engine) || IsLeftOut(engine)) continue;
      if (engine == "direct" && bench_.costs && operations_ > kMostDirectOperations) continue;
      if (engine == "direct" && !bench_.costs && DirectMs() > kMostDirectMs) {
        std::printf("%-48s %-24s left out: estimated at %.0f ms\n", name_.c_str(), engine.c_str(),
                    DirectMs());
        bench_.convolutions.push_back(Entry(engine));
        bench_.convolutions.back()["skipped_estimated_ms"] = DirectMs();
        continue;
      }
      Time(engine);
    }
    bench_.Save();
  }

 private:
  bool IsLeftOut(const std::string& name) const {
    const auto& engines = ConvEngines(bench_.context.device());
    const auto engine = std::ranges::find(engines, name, &ConvEngine::name);
    return engine != engines.end() && engine->unproven && !bench_.unproven && !bench_.costs;
  }
  static constexpr double kMostDirectMs = 50, kMostDirectOperations = 4e6;
  // It waits for scattered loads; the rate is a guess on the low side.
  double DirectMs() const { return operations_ / 0.3e12 * 1e3; }

  int64_t SrcBytes() const { return params_.src.Count() * SizeOf(formats_.src_dtype); }
  int64_t DstBytes() const {
    const Shape dst = params_.Dst();
    if (!conv_.stage_end) return dst.Count() * SizeOf(formats_.dst_dtype);
    const int64_t pooled = params_.pooled ? params_.Pooled().Count() : 0;
    return pooled * SizeOf(formats_.dst_dtype) + dst.n * kLesions * dst.h * dst.w * 4;
  }
  double PeakTflops() const {
    return kind_ == Kind::kTf32 ? bench_.tf32_tflops : kind_ == Kind::kF32 ? 0 : bench_.bf16_tflops;
  }

  nlohmann::ordered_json Entry(const std::string& engine) const {
    return {{"conv", conv_.name},
            {"times_in_net", conv_.times},
            {"direction", ToString(direction_)},
            {"dtype", kKindNames[static_cast<int>(kind_)]},
            {"size", size_},
            {"engine", engine}};
  }

  void MakeTensors() {
    const bool backward = direction_ != ConvDirection::kForward;
    const float range = backward ? 1.0f : 0.1f;
    tensors_ = std::make_unique<Tensors>(
        bench_, std::vector<TensorSpec>{{params_.src.Count(), formats_.src_dtype},
                                        {params_.Dst().Count(), formats_.dst_dtype},
                                        {params_.Weight().Count(), DType::kF32, -range, range},
                                        {params_.out_channels},
                                        {params_.out_channels * kLesions}});
  }

  ConvArgs ArgsOf(int run) const {
    ConvArgs args;
    args.src = args.d_src = tensors_->At(run, 0);
    args.dst = args.pooled = tensors_->At(run, 1);
    args.d_dst = args.dst;
    args.score_weight = tensors_->At<float>(run, 4);
    args.weight = tensors_->At(run, 2);
    args.d_weight = tensors_->At<float>(run, 2);
    args.d_bias = tensors_->At<float>(run, 3);
    args.bias = args.d_bias;
    args.d_src_mode = args.d_weight_mode = GradMode::kWrite;
    return args;
  }

  void Time(const std::string& engine) {
    if (tensors_ == nullptr) MakeTensors();
    Context& context = bench_.context;
    const auto plan = MakeConvPlan(context, params_, direction_, formats_, engine);
    const Buffer workspace(context.device(), plan->WorkspaceBytes(GradMode::kWrite));
    const Buffer packed(context.device(), plan->PackedWeightBytes());
    const Shape dst = params_.Dst();
    const Buffer scores(context.device(),
                        plan->ScorePartials() * dst.n * kLesions * dst.h * dst.w * 4);
    double pack_ms = 0;
    if (packed.bytes() > 0) {
      pack_ms = bench_.MedianMs(
          [&](int run) { plan->PackWeights(context, tensors_->At<float>(run, 2), packed.data()); });
    }
    const double ms = bench_.MedianMs([&](int run) {
      ConvArgs args = ArgsOf(run);
      if (packed.bytes() > 0) args.weight = packed.data();
      args.workspace = workspace.data();
      args.score_partials = static_cast<float*>(scores.data());
      plan->Run(context, args);
    });
    Report(engine, ms, pack_ms, workspace.bytes());
  }

  void Report(const std::string& engine, double ms, double pack_ms, int64_t workspace) {
    if (bench_.costs) return;
    const double tflops = operations_ / ms / 1e9, gb_s = bytes_ / ms / 1e6;
    const double of_copy = gb_s / bench_.copy_gb_s;
    const double of_peak = PeakTflops() > 0 ? tflops / PeakTflops() : 0;
    std::printf("%-48s %-24s %9.4f ms %7.1f TFLOP/s %5.1f %% of peak %5.1f %% of copy\n",
                name_.c_str(), engine.c_str(), ms, tflops, 100 * of_peak, 100 * of_copy);
    std::fflush(stdout);
    nlohmann::ordered_json entry = Entry(engine);
    entry["ms"] = ms;
    entry["tflops"] = tflops;
    if (PeakTflops() > 0) entry["share_of_mma_peak"] = of_peak;
    entry["gb_per_s"] = gb_s;
    entry["share_of_copy"] = of_copy;
    entry["pack_ms"] = pack_ms;
    entry["workspace_bytes"] = workspace;
    bench_.convolutions.push_back(std::move(entry));
  }

  GpuBench& bench_;
  const NetConv& conv_;
  Kind kind_;
  ConvDirection direction_;
  ConvParams params_;
  ConvFormats formats_;
  std::string size_, name_;
  double bytes_ = 0, operations_ = 0;
  std::unique_ptr<Tensors> tensors_;
};

void BenchSize(GpuBench& bench, const Size& size, Kind kind) {
  for (const NetConv& conv : kConvs) {
    // Types beside bf16: where the matrix units are busiest.
    const bool sample = conv.kernel == 3 && conv.shrink <= 4 && conv.in >= 3 && conv.in != 128;
    const bool narrow = kind == Kind::kBF16 || kind == Kind::kF16;
    if (!narrow && !sample && !(bench.costs && conv.kernel == 1)) continue;
    if (conv.stage_end && (kind == Kind::kF32 || (kind != Kind::kBF16 && !bench.costs))) continue;
    for (const ConvDirection direction :
         {ConvDirection::kForward, ConvDirection::kBackwardData, ConvDirection::kBackwardWeights}) {
      // Nobody wants the gradient of the image.
      if (conv.in == 3 && direction == ConvDirection::kBackwardData) continue;
      if (conv.stage_end && direction != ConvDirection::kForward) continue;
      Case(bench, conv, size, kind, direction).Run();
    }
  }
}

}  // namespace

void BenchConvolutions(GpuBench& bench) {
  if (bench.costs) {
    for (const Kind kind : {Kind::kBF16, Kind::kF16, Kind::kTf32, Kind::kF32}) {
      BenchSize(bench, {1, 64, 96}, kind);
    }
    return;
  }
  BenchSize(bench, {1, 960, 1440}, Kind::kBF16);
  if (bench.quick) return;
  BenchSize(bench, {4, 480, 720}, Kind::kBF16);
  BenchSize(bench, {1, 480, 720}, Kind::kBF16);
  BenchSize(bench, {1, 480, 720}, Kind::kTf32);
  BenchSize(bench, {1, 480, 720}, Kind::kF32);
}

nlohmann::ordered_json NetTotals(const GpuBench& bench) {
  // By size, type and direction: by convolution, the least time.
  std::map<std::string, std::map<std::string, double>> least;
  std::map<std::string, int> times;
  for (const nlohmann::ordered_json& entry : bench.convolutions) {
    if (!entry.contains("ms")) continue;
    const std::string conv = entry["conv"];
    const std::string key = entry["size"].get<std::string>() + " " +
                            entry["dtype"].get<std::string>() + " " +
                            entry["direction"].get<std::string>() +
                            (IsLibraryConvEngine(entry["engine"]) ? " by libraries" : "");
    const double ms = entry["ms"];
    times[conv] = entry["times_in_net"];
    const auto [place, added] = least[key].try_emplace(conv, ms);
    if (!added) place->second = std::min(place->second, ms);
  }
  nlohmann::ordered_json totals = nlohmann::ordered_json::object();
  for (const auto& [key, convs] : least) {
    double sum = 0;
    int counted = 0;
    for (const auto& [conv, ms] : convs) {
      sum += ms * times[conv];
      counted += times[conv];
    }
    totals[key] = {{"ms", sum}, {"convolutions", counted}};
  }
  return totals;
}

}  // namespace lseg
