// Deconvolution. Where it does not learn (lr_mult 0) and names no filler, it is filled bilinear on
// the diagonal (channel i to channel i): the upsampling that such layers of published nets mean,
// where Caffe would fill zeros and the maps behind it would be dead.
#include "framework/filler.h"
#include "framework/layers/layers.h"
#include "kernels/deconv.h"

namespace lseg {
namespace {

// Inputs: d_dst, weight. Output: d_src.
class DeconvBackwardDataOp : public Op {
 public:
  explicit DeconvBackwardDataOp(const DeconvParams& params) : params_(params) {}
  std::string Name() const override { return "deconv_backward_data"; }
  void Run(Context& context, const OpArgs& args) const override {
    DeconvBackwardData(context, params_, args.f32_in(0), args.f32_in(1), args.f32_out(0),
                       args.modes[0]);
  }

 private:
  DeconvParams params_;
};

// Inputs: src, d_dst. Outputs: d_weight, then d_bias where the layer has a bias; either may be
// skipped.
class DeconvBackwardWeightsOp : public Op {
 public:
  explicit DeconvBackwardWeightsOp(const DeconvParams& params) : params_(params) {}
  std::string Name() const override { return "deconv_backward_weights"; }
  void Run(Context& context, const OpArgs& args) const override {
    DeconvBackwardWeights(context, params_, args.f32_in(0), args.f32_in(1), args.f32_out(0),
                          args.modes[0], params_.bias ? args.f32_out(1) : nullptr,
                          params_.bias ? args.modes[1] : GradMode::kSkip);
  }

 private:
  DeconvParams params_;
};

// Inputs: src, weight, bias (where the layer has one). Output: dst.
class DeconvForwardOp : public Op {
 public:
  explicit DeconvForwardOp(const DeconvParams& params) : params_(params) {}
  std::string Name() const override { return "deconv_forward"; }
  const DeconvParams* AsDeconv() const override { return &params_; }
  bool AbsorbCrop(const BoxCopyParams& crop) override {
    params_.pad_h += crop.src_at.h;
    params_.pad_w += crop.src_at.w;
    params_.rows = crop.box.h;
    params_.columns = crop.box.w;
    params_.Validate();
    return true;
  }
  std::optional<AxisMap> Map(bool vertical) const override {
    // The transpose of a convolution's map: src = (dst - (d (k - 1) / 2 - pad)) / stride.
    const DeconvParams& p = params_;
    const double stride = static_cast<double>(vertical ? p.stride_h : p.stride_w);
    const double shift = vertical ? p.dilation_h * (p.kernel_h - 1) / 2.0 - p.pad_h
                                  : p.dilation_w * (p.kernel_w - 1) / 2.0 - p.pad_w;
    return AxisMap{1 / stride, -shift / stride};
  }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    if (d_dst == kNoTensor) return;
    if (builder.Wanted(1) || (params_.bias && builder.Wanted(2))) {
      builder.AddGradientNode(std::make_unique<DeconvBackwardWeightsOp>(params_),
                              {builder.input(0), d_dst},
                              params_.bias ? std::vector<int>{1, 2} : std::vector<int>{1});
    }
    if (builder.Wanted(0)) {
      builder.AddGradientNode(std::make_unique<DeconvBackwardDataOp>(params_),
                              {d_dst, builder.input(1)}, {0});
    }
  }
  void Run(Context& context, const OpArgs& args) const override {
    DeconvForward(context, params_, args.f32_in(0), args.f32_in(1),
                  params_.bias ? args.f32_in(2) : nullptr, args.f32_out(0));
  }

 private:
  DeconvParams params_;
};

TensorId AddWeight(LayerBuilder& builder, const DeconvParams& deconv) {
  const caffe::ConvolutionParameter& param = builder.param().convolution_param();
  const Shape shape = deconv.Weight();
  const bool diagonal = !param.has_weight_filler() && builder.LrMult(0) == 0;
  const bool bilinear = param.weight_filler().type() == "bilinear";
  if (bilinear && deconv.group < deconv.src.c) {
    builder.Note("the bilinear filler treats every pair of channels alike, as in Caffe: with " +
                 std::to_string(deconv.src.c) + " channels and group " +
                 std::to_string(deconv.group) + " the channels of a group are added up");
  }
  return builder.AddParam(0, "weight", shape, [&](float* data, Random& random) {
    if (diagonal) {
      builder.Note("no weight_filler and lr_mult 0: filled bilinear, channel i to channel i");
      FillBilinearDiagonal(shape, data);
    } else {
      Fill(param.weight_filler(), shape, data, random);
    }
  });
}

}  // namespace

void BuildDeconvolution(LayerBuilder& builder) {
  const DeconvParams deconv = ReadConvolutionParam<DeconvParams>(builder);
  std::vector<TensorId> inputs = {BottomAs(builder, 0, DType::kF32), AddWeight(builder, deconv)};
  AddBias(builder, inputs);
  const TensorId top = builder.AddTop(0, deconv.Dst());
  builder.AddNode(std::make_unique<DeconvForwardOp>(deconv), std::move(inputs), {top});
}

}  // namespace lseg
