// Pooling: maximum or average, Caffe's rounding. In training the maximum's position is kept, so
// that backward agrees with forward on ties.
#include "framework/layers/layers.h"
#include "kernels/pool.h"

namespace lseg {
namespace {

// Inputs: d_dst, argmax (maximum only), src where a ReLU's gradient is part of it. Output: d_src.
class PoolBackwardOp : public Op {
 public:
  explicit PoolBackwardOp(const PoolParams& params) : params_(params) {}
  std::string Name() const override { return "pool_backward"; }
  bool AbsorbReluGradient() override {
    if (relu_gradient_) return false;
    relu_gradient_ = true;
    return true;
  }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    params_.format = in[0].format;
    params_.dtype = in[0].dtype;
  }
  void Run(Context& context, const OpArgs& args) const override {
    const bool max = params_.method == PoolParams::Method::kMax;
    PoolBackward(context, params_, args.in[0], max ? args.in[1] : nullptr, args.out[0],
                 args.modes[0], relu_gradient_ ? args.in.back() : nullptr);
  }

 private:
  PoolParams params_;
  bool relu_gradient_ = false;
};

// Input: src. Outputs: dst, and argmax for a maximum in training.
class PoolForwardOp : public Op {
 public:
  explicit PoolForwardOp(const PoolParams& params) : params_(params) {}
  std::string Name() const override { return "pool_forward"; }
  const PoolParams* AsPool() const override { return &params_; }
  void ChooseFormats(const FormatPolicy&, std::span<TensorDesc> in,
                     std::span<TensorDesc> out) const override {
    for (TensorDesc& desc : out) desc.format = in[0].format;
    out[0].dtype = in[0].dtype;
  }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    params_.format = in[0].format;
    params_.dtype = in[0].dtype;
  }
  std::optional<AxisMap> Map(bool vertical) const override {
    const PoolParams& p = params_;
    if (vertical) return AxisMap{double(p.stride_h), (p.kernel_h - 1) / 2.0 - p.pad_h};
    return AxisMap{double(p.stride_w), (p.kernel_w - 1) / 2.0 - p.pad_w};
  }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    if (d_dst == kNoTensor || !builder.Wanted(0)) return;
    std::vector<TensorId> inputs = {d_dst};
    if (params_.method == PoolParams::Method::kMax) inputs.push_back(builder.output(1));
    builder.AddGradientNode(std::make_unique<PoolBackwardOp>(params_), std::move(inputs), {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    PoolForward(context, params_, args.in[0], args.out[0],
                args.out.size() > 1 ? args.out[1] : nullptr);
  }

 private:
  PoolParams params_;
};

// `name` or the pair name_h, name_w; `fallback` where neither is given.
void ReadPair(const LayerBuilder& builder, const char* name, bool has, int64_t value, bool has_h,
              int64_t value_h, bool has_w, int64_t value_w, int64_t fallback, int64_t* h,
              int64_t* w) {
  LSEG_LAYER_CHECK(builder, has_h == has_w, name << "_h and " << name << "_w go together");
  LSEG_LAYER_CHECK(builder, !(has && has_h),
                   "both " << name << " and " << name << "_h/_w are given: use one of them");
  *h = has_h ? value_h : has ? value : fallback;
  *w = has_w ? value_w : has ? value : fallback;
}

}  // namespace

void BuildPooling(LayerBuilder& builder) {
  const caffe::PoolingParameter& param = builder.param().pooling_param();
  PoolParams pool;
  pool.src = builder.BottomShape(0);
  LSEG_LAYER_CHECK(builder, param.pool() != caffe::PoolingParameter::STOCHASTIC,
                   "pool: STOCHASTIC is not supported; MAX and AVE are");
  pool.method = param.pool() == caffe::PoolingParameter::MAX ? PoolParams::Method::kMax
                                                             : PoolParams::Method::kAverage;
  pool.round_up = param.round_mode() == caffe::PoolingParameter::CEIL;
  const bool any_size = param.has_kernel_size() || param.has_kernel_h() || param.has_kernel_w();
  LSEG_LAYER_CHECK(builder, any_size != param.global_pooling(),
                   (any_size ? "global_pooling takes no kernel size"
                             : "kernel_size (or kernel_h and kernel_w) must be given"));
  if (param.global_pooling()) {
    pool.kernel_h = pool.src.h;
    pool.kernel_w = pool.src.w;
  } else {
    ReadPair(builder, "kernel", param.has_kernel_size(), param.kernel_size(), param.has_kernel_h(),
             param.kernel_h(), param.has_kernel_w(), param.kernel_w(), 0, &pool.kernel_h,
             &pool.kernel_w);
  }
  ReadPair(builder, "stride", param.has_stride(), param.stride(), param.has_stride_h(),
           param.stride_h(), param.has_stride_w(), param.stride_w(), 1, &pool.stride_h,
           &pool.stride_w);
  ReadPair(builder, "pad", param.has_pad(), param.pad(), param.has_pad_h(), param.pad_h(),
           param.has_pad_w(), param.pad_w(), 0, &pool.pad_h, &pool.pad_w);
  try {
    pool.Validate();
  } catch (const Error& error) {
    builder.Fail(error.what(), "pooling_param");
  }
  const TensorId bottom = BottomAs(builder, 0, DType::kF32);
  std::vector<TensorId> outputs = {builder.AddTop(0, pool.Dst())};
  if (pool.method == PoolParams::Method::kMax && builder.training_phase()) {
    outputs.push_back(builder.AddTemporary("argmax", pool.Dst(), pool.ArgmaxDType()));
  }
  builder.AddNode(std::make_unique<PoolForwardOp>(pool), {bottom}, std::move(outputs));
}

}  // namespace lseg
