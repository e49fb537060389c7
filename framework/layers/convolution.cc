// Convolution, with its bias and, after the fuse pass, its ReLU. Its plans are made by the engines
// of kernels/conv.h; which one, is settled in Prepare.
#include <algorithm>
#include <sstream>

#include "framework/engine_cache.h"
#include "framework/filler.h"
#include "framework/layers/layers.h"
#include "kernels/conv.h"
#include "kernels/conv_libraries.h"
#include "kernels/elementwise.h"

namespace lseg {
namespace {

// What of a case decides which engine is the fastest, for the cache.
std::string CaseName(const ConvParams& p, ConvDirection direction, ConvFormats formats) {
  std::ostringstream out;
  out << ToString(direction) << ' ' << ToString(p.src) << ' ' << ToString(formats.src) << ' '
      << ToString(formats.src_dtype) << " to " << p.out_channels << ' ' << ToString(formats.dst)
      << ' ' << ToString(formats.dst_dtype) << ", kernel " << p.kernel_h << 'x' << p.kernel_w
      << " stride " << p.stride_h << 'x' << p.stride_w << " pad " << p.pad_h << 'x' << p.pad_w
      << " dilation " << p.dilation_h << 'x' << p.dilation_w << " group " << p.group
      << (p.relu ? " relu" : "") << (p.relu_gradient ? " relu gradient" : "")
      << (p.allow_tf32 ? " tf32" : "") << (p.pooled ? " pooled" : "");
  if (p.score_channels > 0) out << " scores " << p.score_channels;
  return out.str();
}

bool IsEligible(const std::string& engine, const Context& context, const ConvParams& params,
                ConvDirection direction, ConvFormats formats) {
  const std::vector<std::string> eligible =
      EligibleConvEngines(context, params, direction, formats);
  return std::find(eligible.begin(), eligible.end(), engine) != eligible.end();
}

std::string Fastest(PrepareContext& prepare, const ConvParams& params, ConvDirection direction,
                    ConvFormats formats) {
  const std::string device = prepare.context.Describe();
  const std::string name = CaseName(params, direction, formats);
  EngineCache* cache = prepare.unproven ? nullptr : prepare.cache;
  if (cache != nullptr) {
    const std::string known = cache->Find(device, name);
    if (IsEligible(known, prepare.context, params, direction, formats)) return known;
  }
  ConvParams sample = params;
  if (prepare.context.device() == Device::kCpu) {
    // Fewer rows tell the same story sooner: engines differ by channels, width and cache use. (On a
    // GPU they differ by how the blocks of all rows fill it.)
    constexpr int64_t kRows = 64;
    sample.src.h = std::min(sample.src.h, std::max(kRows, sample.kernel_h * sample.dilation_h));
    sample.src.n = 1;
  }
  const std::string engine =
      FastestConvEngine(prepare.context, sample, direction, formats, prepare.unproven);
  if (cache != nullptr) cache->Add(device, name, engine);
  return engine;
}

// An engine's name for a case: the one that was chosen before, if this device has it, the one that
// the layer asks for, the one asked for wherever it fits, the fastest, or the first.
std::string ChooseEngine(PrepareContext& prepare, const std::string& key, const std::string& asked,
                         const ConvParams& params, ConvDirection direction, ConvFormats formats) {
  const auto known = prepare.engines.find(key);
  if (known != prepare.engines.end()) {
    if (known->second == asked || IsLibraryConvEngine(known->second) ||
        IsEligible(known->second, prepare.context, params, direction, formats)) {
      return known->second;
    }
    prepare.replaced.push_back(key + ": " + known->second);
  }
  std::vector<std::string> of_libraries;
  if (asked.empty() && !prepare.library.empty()) {
    of_libraries = LibraryConvEngines(prepare.context, params, direction, formats);
  }
  const auto library = std::find(of_libraries.begin(), of_libraries.end(), prepare.library);
  const std::string engine =
      !asked.empty()                  ? asked
      : library != of_libraries.end() ? *library
      : prepare.measure               ? Fastest(prepare, params, direction, formats)
                        : EligibleConvEngines(prepare.context, params, direction, formats).front();
  prepare.engines[key] = engine;
  return engine;
}

// What the three directions share.
class ConvOpBase : public Op {
 public:
  // engine: where the layer asks for one by name, else "".
  ConvOpBase(std::string layer, const ConvParams& params, ConvDirection direction,
             std::string engine)
      : layer_(std::move(layer)),
        params_(params),
        direction_(direction),
        engine_(std::move(engine)) {}
  std::string Name() const override { return "conv_" + ToString(direction_); }
  int64_t WorkspaceBytes() const override { return plan_->WorkspaceBytes(); }
  const ConvPlan* PackedFor(int input) const override {
    const bool packed = direction_ != ConvDirection::kBackwardWeights && input == 1;
    return packed && plan_->PackedWeightBytes() > 0 ? plan_.get() : nullptr;
  }

 protected:
  void MakePlan(PrepareContext& prepare, const TensorDesc& src, const TensorDesc& dst) {
    const ConvFormats formats{src.format, dst.format, src.dtype, dst.dtype};
    params_.allow_tf32 = prepare.allow_tf32;
    const std::string key = layer_ + " " + ToString(direction_);
    plan_ = MakeConvPlan(prepare.context, params_, direction_, formats,
                         ChooseEngine(prepare, key, engine_, params_, direction_, formats));
  }

  std::string layer_;
  ConvParams params_;
  ConvDirection direction_;
  std::string engine_;
  std::unique_ptr<ConvPlan> plan_;
};

// Inputs: d_dst, weight, and src where a ReLU's gradient is part of it. Output: d_src.
class ConvBackwardDataOp : public ConvOpBase {
 public:
  ConvBackwardDataOp(std::string layer, const ConvParams& params, std::string engine)
      : ConvOpBase(std::move(layer), params, ConvDirection::kBackwardData, std::move(engine)) {}
  void Prepare(PrepareContext& prepare, std::span<const TensorDesc> in,
               std::span<const TensorDesc> out) override {
    MakePlan(prepare, out[0], in[0]);
  }
  // An engine that is asked for by name may be a library's, which lacks it.
  bool AbsorbReluGradient() override {
    if (params_.relu_gradient || !engine_.empty()) return false;
    params_.relu_gradient = true;
    return true;
  }
  void Run(Context& context, const OpArgs& args) const override {
    ConvArgs conv;
    conv.d_dst = args.in[0];
    conv.weight = args.in[1];
    if (params_.relu_gradient) conv.src = args.in[2];
    conv.d_src = args.out[0];
    conv.d_src_mode = args.modes[0];
    conv.workspace = args.workspace;
    plan_->Run(context, conv);
  }
};

// Inputs: src, d_dst. Outputs: d_weight, then d_bias where the layer has a bias.
class ConvBackwardWeightsOp : public ConvOpBase {
 public:
  ConvBackwardWeightsOp(std::string layer, const ConvParams& params, std::string engine)
      : ConvOpBase(std::move(layer), params, ConvDirection::kBackwardWeights, std::move(engine)) {}
  void Prepare(PrepareContext& prepare, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    MakePlan(prepare, in[0], in[1]);
  }
  void Run(Context& context, const OpArgs& args) const override {
    ConvArgs conv;
    conv.src = args.in[0];
    conv.d_dst = args.in[1];
    conv.d_weight = args.f32_out(0);
    conv.d_weight_mode = args.modes[0];
    conv.d_bias = params_.bias ? args.f32_out(1) : nullptr;
    conv.workspace = args.workspace;
    plan_->Run(context, conv);
  }
};

// Inputs: output of the fused ReLU, its gradient. Output: gradient of what the ReLU saw.
class FusedReluBackwardOp : public Op {
 public:
  std::string Name() const override { return "relu_backward"; }
  bool IsReluGradient() const override { return true; }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    count_ = StorageCount(in[0].shape, in[0].format);
    dtype_ = in[0].dtype;
  }
  bool InPlace(int, int input) const override { return input == 1; }
  void Run(Context& context, const OpArgs& args) const override {
    ReluBackward(context, count_, 0, args.in[0], args.in[1], args.out[0], args.modes[0], dtype_);
  }

 private:
  int64_t count_ = 0;
  DType dtype_ = DType::kF32;
};

// Inputs: src, weight, bias (where the layer has one). Output: dst.
class ConvForwardOp : public ConvOpBase {
 public:
  ConvForwardOp(std::string layer, const ConvParams& params, std::string engine)
      : ConvOpBase(std::move(layer), params, ConvDirection::kForward, std::move(engine)) {}
  // One whose engine is asked for is nothing that passes may replace.
  const ConvParams* AsConv() const override { return engine_.empty() ? &params_ : nullptr; }

  // Blocked from convolution to convolution. The few channels of an image come in plainly, and the
  // few of a score map leave plainly; other channel counts and groups stay plain on both sides, but
  // for f32 in a 1x1 convolution, where engines take blocks to any number of channels. So does an
  // image that no engine takes to the trunk's type.
  void ChooseFormats(const FormatPolicy& policy, std::span<TensorDesc> in,
                     std::span<TensorDesc> out) const override {
    const ConvFormats formats = FormatsIn(policy);
    in[0].format = formats.src;
    in[0].dtype = formats.src_dtype;
    out[0].format = formats.dst;
    out[0].dtype = formats.dst_dtype;
  }
  void Prepare(PrepareContext& prepare, std::span<const TensorDesc> in,
               std::span<const TensorDesc> out) override {
    MakePlan(prepare, in[0], out[0]);
  }
  bool AbsorbRelu() override {
    params_.relu = true;
    return true;
  }
  std::optional<AxisMap> Map(bool vertical) const override {
    const ConvParams& p = params_;
    if (vertical) {
      return AxisMap{double(p.stride_h), p.dilation_h * (p.kernel_h - 1) / 2.0 - p.pad_h};
    }
    return AxisMap{double(p.stride_w), p.dilation_w * (p.kernel_w - 1) / 2.0 - p.pad_w};
  }

  void AddGradient(GradientBuilder& builder) const override {
    TensorId d_dst = builder.OutputGradient(0);
    const bool parameters = builder.Wanted(1) || (params_.bias && builder.Wanted(2));
    if (d_dst == kNoTensor || (!parameters && !builder.Wanted(0))) return;
    ConvParams plain = params_;
    plain.relu = false;
    if (params_.relu) {
      const TensorId before_relu = builder.AddTemporary(d_dst);
      builder.AddNode(std::make_unique<FusedReluBackwardOp>(), {builder.output(0), d_dst},
                      {before_relu});
      d_dst = before_relu;
    }
    if (parameters) AddWeightsGradient(builder, d_dst, plain);
    if (builder.Wanted(0)) {
      // Of an image in f32: engines take no other type on one side only.
      if (builder.desc(builder.input(0)).dtype == DType::kF32 &&
          builder.desc(d_dst).dtype != DType::kF32) {
        const TensorId plain_d_dst = builder.AddPlainTemporary(d_dst);
        builder.AddNode(MakeReorderOp(), {d_dst}, {plain_d_dst});
        d_dst = plain_d_dst;
      }
      builder.AddGradientNode(std::make_unique<ConvBackwardDataOp>(layer_, plain, engine_),
                              {d_dst, builder.input(1)}, {0});
    }
  }

  void Run(Context& context, const OpArgs& args) const override {
    ConvArgs conv;
    conv.src = args.in[0];
    conv.weight = args.in[1];
    conv.bias = params_.bias ? args.f32_in(2) : nullptr;
    conv.dst = args.out[0];
    conv.workspace = args.workspace;
    plan_->Run(context, conv);
  }

 private:
  // Engines give both gradients or that of the weight. Where only the bias learns, both are
  // computed, and one goes nowhere.
  void AddWeightsGradient(GradientBuilder& builder, TensorId d_dst, ConvParams params) const {
    params.bias = params_.bias && builder.Wanted(2);
    auto op = std::make_unique<ConvBackwardWeightsOp>(layer_, params, engine_);
    const std::vector<TensorId> inputs = {builder.input(0), d_dst};
    if (builder.Wanted(1)) {
      builder.AddGradientNode(std::move(op), inputs,
                              params.bias ? std::vector<int>{1, 2} : std::vector<int>{1});
      return;
    }
    const TensorId d_weight = builder.AddPlainTemporary(builder.input(1));
    const TensorId d_bias = builder.AddPlainTemporary(builder.input(2));
    builder.AddNode(std::move(op), inputs, {d_weight, d_bias});
    builder.AddGradientNode(MakeReorderOp(), {d_bias}, {2});
  }

  // From blocks of the trunk to such, from an image, or to scores, where the channels fill blocks
  // and an engine takes it; what has no engine in the trunk's type in f32, what fills no blocks of
  // 16 in such of 8, and all else plain.
  ConvFormats FormatsIn(const FormatPolicy& policy) const {
    constexpr int64_t kVector = 8;  // channels that NHWC kernels move at a time
    constexpr ConvFormats kPlain = {Format::kNCHW, Format::kNCHW};
    const Format blocked = policy.blocked;
    const DType trunk = policy.trunk;
    const int64_t block = blocked == Format::kNHWC ? kVector : ChannelBlock(blocked, 0);
    const bool in_fits = params_.src.c % block == 0, out_fits = params_.out_channels % block == 0;
    const bool scores = params_.kernel_h == 1 && params_.kernel_w == 1 &&
                        (params_.out_channels <= kMostScores || trunk == DType::kF32);
    ConvFormats formats = kPlain;
    if (in_fits && (out_fits || scores)) formats.src = blocked, formats.src_dtype = trunk;
    if (out_fits && (in_fits || params_.src.c <= 4)) {
      formats.dst = blocked, formats.dst_dtype = trunk;
    }
    const bool plain = formats.src == Format::kNCHW && formats.dst == Format::kNCHW;
    if (!plain && params_.group == 1 && Takes(*policy.context, formats)) return formats;
    if (policy.context->device() == Device::kCuda || blocked == Format::kNChw8c) return kPlain;
    const Format next = trunk == DType::kF32 ? Format::kNChw8c : policy.context->blocked_format();
    return FormatsIn({next, DType::kF32, policy.context});
  }

  // In all directions, but that of the image, whose gradient nobody wants.
  bool Takes(const Context& context, ConvFormats formats) const {
    const auto has = [&](ConvDirection direction) {
      return HasConvEngine(context, params_, direction, formats);
    };
    return has(ConvDirection::kForward) && has(ConvDirection::kBackwardWeights) &&
           (params_.src.c <= 4 || has(ConvDirection::kBackwardData));
  }
};

// As MakeConvStageEndOp says.
class ConvStageEndOp : public ConvOpBase {
 public:
  ConvStageEndOp(std::string layer, const ConvParams& params)
      : ConvOpBase(std::move(layer), params, ConvDirection::kForward, "") {}
  std::string Name() const override { return "conv_stage_end"; }
  const ConvParams* AsConv() const override { return &params_; }
  void ChooseFormats(const FormatPolicy& policy, std::span<TensorDesc> in,
                     std::span<TensorDesc> out) const override {
    in[0].format = policy.blocked;
    in[0].dtype = policy.trunk;
    if (!params_.pooled) return;
    out[0].format = policy.blocked;
    out[0].dtype = policy.trunk;
  }
  void Prepare(PrepareContext& prepare, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    MakePlan(prepare, in[0], in[0]);
  }
  void SettleOutputs(std::span<TensorDesc> out) const override {
    if (params_.score_channels > 0) out.back().shape.n = plan_->ScorePartials() * params_.src.n;
  }
  void Run(Context& context, const OpArgs& args) const override {
    ConvArgs conv;
    conv.src = args.in[0];
    conv.weight = args.in[1];
    conv.bias = params_.bias ? args.f32_in(2) : nullptr;
    conv.pooled = params_.pooled ? args.out[0] : nullptr;
    if (params_.score_channels > 0) {
      conv.score_weight = args.f32_in(params_.bias ? 3 : 2);
      conv.score_partials = static_cast<float*>(args.out.back());
    }
    conv.workspace = args.workspace;
    plan_->Run(context, conv);
  }
};

}  // namespace

std::unique_ptr<Op> MakeConvForwardOp(std::string layer, const ConvParams& params) {
  return std::make_unique<ConvForwardOp>(std::move(layer), params, "");
}

std::unique_ptr<Op> MakeConvStageEndOp(std::string layer, const ConvParams& params) {
  return std::make_unique<ConvStageEndOp>(std::move(layer), params);
}

void BuildConvolution(LayerBuilder& builder) {
  const caffe::ConvolutionParameter& param = builder.param().convolution_param();
  const ConvParams conv = ReadConvolutionParam<ConvParams>(builder);
  std::string engine;
  if (param.engine() == caffe::ConvolutionParameter::CUDNN) {
    if (builder.context().device() == Device::kCuda) {
      engine = "cudnn";
    } else {
      builder.Note("engine: CUDNN is ignored: it is for device cuda");
    }
  }
  std::vector<TensorId> inputs = {BottomAs(builder, 0, DType::kF32)};
  inputs.push_back(builder.AddParam(0, "weight", conv.Weight(), [&](float* data, Random& random) {
    Fill(param.weight_filler(), conv.Weight(), data, random);
  }));
  AddBias(builder, inputs);
  const TensorId top = builder.AddTop(0, conv.Dst());
  builder.AddNode(std::make_unique<ConvForwardOp>(builder.param().name(), conv, engine),
                  std::move(inputs), {top});
}

}  // namespace lseg
