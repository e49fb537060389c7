// Geometry of convolutions, and the choice among their engines.
#include "kernels/conv.h"

#include <algorithm>
#include <chrono>

#include "kernels/conv_libraries.h"
#include "kernels/cpu/conv_engines.h"
#include "kernels/cpu/winograd.h"
#include "kernels/runtime/buffer.h"

#if LSEG_WITH_CUDA
#include "kernels/cuda/conv_engines.h"
#include "kernels/cuda/conv_gemm_pack.h"
#endif

namespace lseg {
namespace {

int64_t OutputSize(int64_t in, int64_t kernel, int64_t stride, int64_t pad, int64_t dilation) {
  return (in + 2 * pad - (dilation * (kernel - 1) + 1)) / stride + 1;
}

void ValidateAxis(char axis, int64_t in, int64_t kernel, int64_t stride, int64_t pad,
                  int64_t dilation) {
  LSEG_CHECK(kernel >= 1 && stride >= 1 && pad >= 0 && dilation >= 1,
             "convolution along " << axis << ": kernel " << kernel << ", stride " << stride
                                  << ", pad " << pad << ", dilation " << dilation
                                  << "; pad must be at least 0, the others at least 1");
  LSEG_CHECK(dilation * (kernel - 1) + 1 <= in + 2 * pad,
             "convolution along " << axis << ": a kernel of " << kernel << " with dilation "
                                  << dilation << " covers " << dilation * (kernel - 1) + 1
                                  << " positions, the padded input has only " << in + 2 * pad);
}

Buffer Zeros(const Context& context, int64_t bytes) {
  Buffer buffer(context.device(), bytes);
  SetZero(context.device(), buffer.data(), bytes);
  return buffer;
}

// Best of three runs after a warm-up, in seconds.
double Time(Context& context, const ConvPlan& plan, const ConvArgs& args) {
  double best = 0;
  for (int run = 0; run < 4; ++run) {
    const auto start = std::chrono::steady_clock::now();
    plan.Run(context, args);
    context.Synchronize();
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    if (run == 1 || (run > 1 && seconds.count() < best)) best = seconds.count();
  }
  return best;
}

}  // namespace

void ConvParams::Validate() const {
  LSEG_CHECK(
      src.n >= 1 && src.c >= 1 && src.h >= 1 && src.w >= 1,
      "convolution of a source of shape " << ToString(src) << ": every extent must be at least 1");
  LSEG_CHECK(out_channels >= 1, "convolution to " << out_channels << " channels: at least 1");
  LSEG_CHECK(group >= 1 && src.c % group == 0 && out_channels % group == 0,
             "convolution in " << group << " groups: the number of groups must divide the " << src.c
                               << " input and the " << out_channels << " output channels");
  LSEG_CHECK(score_channels >= 0 && score_channels <= kMostScores,
             "convolution that ends a stage: scores of " << score_channels << " channels; at most "
                                                         << kMostScores << " are computed");
  ValidateAxis('y', src.h, kernel_h, stride_h, pad_h, dilation_h);
  ValidateAxis('x', src.w, kernel_w, stride_w, pad_w, dilation_w);
}

Shape ConvParams::Dst() const {
  return {src.n, out_channels, OutputSize(src.h, kernel_h, stride_h, pad_h, dilation_h),
          OutputSize(src.w, kernel_w, stride_w, pad_w, dilation_w)};
}

Shape ConvParams::Pooled() const {
  const Shape dst = Dst();
  return {dst.n, dst.c, (dst.h + 1) / 2, (dst.w + 1) / 2};
}

Shape ConvParams::Weight() const { return {out_channels, src.c / group, kernel_h, kernel_w}; }

int64_t ConvParams::MultiplyAdds() const {
  return Dst().Count() * (src.c / group) * kernel_h * kernel_w;
}

RowRange ConvParams::SrcRows(RowRange dst_rows) const {
  if (dst_rows.begin >= dst_rows.end) return {0, 0};
  const int64_t first = dst_rows.begin * stride_h - pad_h;
  const int64_t last = (dst_rows.end - 1) * stride_h - pad_h + dilation_h * (kernel_h - 1);
  const int64_t begin = std::clamp<int64_t>(first, 0, src.h);
  return {begin, std::clamp<int64_t>(last + 1, begin, src.h)};
}

std::string ToString(ConvDirection direction) {
  switch (direction) {
    case ConvDirection::kForward:
      return "forward";
    case ConvDirection::kBackwardData:
      return "backward data";
    case ConvDirection::kBackwardWeights:
      return "backward weights";
  }
  LSEG_FAIL("unknown convolution direction " << static_cast<int>(direction));
}

namespace {

std::vector<ConvEngine> CpuEngines() {
  std::vector<ConvEngine> engines = {
      {"pointwise", SupportsConvPointwise, MakeConvPointwise},
      {"first_layer", SupportsConvFirstLayer, MakeConvFirstLayer, false, ConvWinogradRowGrid, true},
      {"winograd4x3", SupportsConvWinograd4x3, MakeConvWinograd4x3, true, ConvWinogradRowGrid,
       true},
      {"winograd2x3", SupportsConvWinograd2x3, MakeConvWinograd2x3, true, ConvWinogradRowGrid,
       true},
      // AMX multiplies so fast that products saved are not worth their transforms.
      {"implicit_gemm_amx", SupportsConvAmx, MakeConvAmx, true, ConvAmxRowGrid, true},
      {"winograd2x3_bf16", SupportsConvWinograd2x3Bf16, MakeConvWinograd2x3Bf16, true,
       ConvWinogradRowGrid, true},
      {"winograd4x3_bf16", SupportsConvWinograd4x3Bf16, MakeConvWinograd4x3Bf16, true,
       ConvWinogradRowGrid, true},
      {"onednn_winograd", SupportsConvOnednnWinograd, MakeConvOnednnWinograd},
      {"onednn_rows", SupportsConvOnednnRows, MakeConvOnednnRows, true, ConvOnednnRowGrid},
      {"onednn", SupportsConvOnednn, MakeConvOnednn},
      {"reference", SupportsConvReference, MakeConvReference},
  };
  if (!WinogradIsFastInBf16()) {
    const auto named = [&](const std::string& name) {
      return std::ranges::find(engines, name, &ConvEngine::name);
    };
    std::iter_swap(named("winograd2x3_bf16"), named("winograd4x3_bf16"));
  }
  return engines;
}

}  // namespace

const std::vector<ConvEngine>& ConvEngines(Device device) {
#if LSEG_WITH_CUDA
  if (device == Device::kCuda) return cuda::ConvEngines();
#endif
  LSEG_CHECK(device == Device::kCpu, "this program was built without CUDA");
  static const std::vector<ConvEngine> kCpuEngines = CpuEngines();
  return kCpuEngines;
}

void PackConvWeights(Context& context, std::span<const ConvPack> packs) {
#if LSEG_WITH_CUDA
  if (context.device() == Device::kCuda) return cuda::PackConvWeights(context, packs);
#endif
  for (const ConvPack& pack : packs) pack.plan->PackWeights(context, pack.weight, pack.packed);
}

namespace {

bool Supports(const ConvEngine& engine, const Context& context, const ConvParams& params,
              ConvDirection direction, ConvFormats formats) {
  return (engine.stage_end || !params.HasStageEnd()) &&
         engine.supports(context, params, direction, formats);
}

}  // namespace

bool HasConvEngine(const Context& context, const ConvParams& params, ConvDirection direction,
                   ConvFormats formats) {
  return std::ranges::any_of(ConvEngines(context.device()), [&](const ConvEngine& engine) {
    return engine.name != "reference" && Supports(engine, context, params, direction, formats);
  });
}

std::vector<std::string> EligibleConvEngines(const Context& context, const ConvParams& params,
                                             ConvDirection direction, ConvFormats formats) {
  params.Validate();
  LSEG_CHECK(formats.src != Format::kOpaque && formats.dst != Format::kOpaque,
             "convolution: source and destination need a format whose layout is known, not "
                 << ToString(Format::kOpaque));
  std::vector<std::string> names;
  for (const ConvEngine& engine : ConvEngines(context.device())) {
    if (Supports(engine, context, params, direction, formats)) names.push_back(engine.name);
  }
  LSEG_CHECK(!names.empty(), "no convolution engine of device "
                                 << ToString(context.device()) << " does " << ToString(direction)
                                 << " from " << ToString(formats.src_dtype) << " to "
                                 << ToString(formats.dst_dtype)
                                 << (params.HasStageEnd() ? ", as the end of a stage" : ""));
  return names;
}

std::unique_ptr<ConvPlan> MakeConvPlan(const Context& context, const ConvParams& params,
                                       ConvDirection direction, ConvFormats formats,
                                       const std::string& engine) {
  if (IsLibraryConvEngine(engine)) {
    return MakeLibraryConvPlan(context, params, direction, formats, engine);
  }
  const std::vector<std::string> eligible =
      EligibleConvEngines(context, params, direction, formats);
  const std::string& chosen = engine.empty() ? eligible.front() : engine;
  if (std::find(eligible.begin(), eligible.end(), chosen) == eligible.end()) {
    std::string names;
    for (const std::string& name : eligible) names += (names.empty() ? "" : ", ") + name;
    LSEG_FAIL("convolution engine '" << chosen << "' does not support " << ToString(direction)
                                     << " from " << ToString(params.src) << " "
                                     << ToString(formats.src) << " with weights "
                                     << ToString(params.Weight()) << " to " << ToString(formats.dst)
                                     << "; engines that do: " << names);
  }
  for (const ConvEngine& e : ConvEngines(context.device())) {
    if (e.name == chosen) return e.make(context, params, direction, formats);
  }
  LSEG_FAIL("convolution engine '" << chosen << "' is not in the table");
}

std::string FastestConvEngine(Context& context, const ConvParams& params, ConvDirection direction,
                              ConvFormats formats, bool unproven) {
  std::vector<std::string> names = EligibleConvEngines(context, params, direction, formats);
  for (const ConvEngine& engine : ConvEngines(context.device())) {
    if (engine.unproven && !unproven) std::erase(names, engine.name);
  }
  const auto last_resort = [](const std::string& name) {
    return name == "reference" || name == "direct";
  };
  if (!std::all_of(names.begin(), names.end(), last_resort)) std::erase_if(names, last_resort);
  if (names.size() == 1) return names.front();

  const Shape weight_shape = params.Weight();
  const Buffer src =
      Zeros(context, StorageCount(params.src, formats.src) * SizeOf(formats.src_dtype));
  const Buffer dst =
      Zeros(context, StorageCount(params.Dst(), formats.dst) * SizeOf(formats.dst_dtype));
  const Buffer weight = Zeros(context, weight_shape.Count() * 4);
  const Buffer bias = Zeros(context, params.out_channels * 4);
  const Buffer score_weight = Zeros(context, params.score_channels * params.out_channels * 4);
  std::string fastest;
  double least = 0;
  for (const std::string& name : names) {
    const auto plan = MakeConvPlan(context, params, direction, formats, name);
    const Buffer workspace = Zeros(context, plan->WorkspaceBytes(GradMode::kWrite));
    const Buffer packed = Zeros(context, plan->PackedWeightBytes());
    if (packed.bytes() > 0) {
      plan->PackWeights(context, static_cast<const float*>(weight.data()), packed.data());
    }
    ConvArgs args;
    args.workspace = workspace.data();
    args.weight = packed.bytes() > 0 ? packed.data() : weight.data();
    args.bias = args.d_bias = static_cast<float*>(bias.data());
    args.src = args.d_src = src.data();
    args.dst = dst.data();
    args.d_dst = args.dst;
    args.d_weight = static_cast<float*>(weight.data());
    args.d_src_mode = args.d_weight_mode = GradMode::kWrite;
    const Buffer pooled = Zeros(context, params.pooled ? dst.bytes() : 0);
    const Buffer partials = Zeros(context, plan->ScorePartials() * params.score_channels *
                                               params.Dst().Count() * 4 / params.out_channels);
    args.pooled = pooled.data();
    args.score_weight = static_cast<const float*>(score_weight.data());
    args.score_partials = static_cast<float*>(partials.data());
    const double seconds = Time(context, *plan, args);
    if (fastest.empty() || seconds < least) {
      fastest = name;
      least = seconds;
    }
  }
  return fastest;
}

}  // namespace lseg
