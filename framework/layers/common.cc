// What several layer types share: axes, parameters of convolutions, casts of labels, loss
// normalisation.
#include "framework/filler.h"
#include "framework/layers/layers.h"
#include "kernels/conv.h"
#include "kernels/deconv.h"
#include "kernels/reorder.h"

namespace lseg {
namespace {

class CastOp : public Op {
 public:
  CastOp(int64_t count, DType to) : count_(count), to_(to) {}
  std::string Name() const override { return "cast"; }
  std::optional<AxisMap> Map(bool) const override { return AxisMap{}; }
  void Run(Context& context, const OpArgs& args) const override {
    if (to_ == DType::kU8) {
      CastToU8(context, count_, args.f32_in(0), static_cast<uint8_t*>(args.out[0]));
    } else {
      CastToF32(context, count_, static_cast<const uint8_t*>(args.in[0]), args.f32_out(0));
    }
  }

 private:
  int64_t count_;
  DType to_;
};

using Repeated = google::protobuf::RepeatedField<google::protobuf::uint32>;

// One spatial quantity for both axes.
void ReadPair(const LayerBuilder& builder, const std::string& name, const Repeated& values,
              bool has_h, int64_t value_h, bool has_w, int64_t value_w, int64_t fallback,
              int64_t* h, int64_t* w) {
  if (has_h || has_w) {
    LSEG_LAYER_CHECK(builder, has_h && has_w, name << "_h and " << name << "_w go together");
    LSEG_LAYER_CHECK(builder, values.empty(),
                     "both " << name << " and " << name << "_h/_w are given: use one of them");
    *h = value_h;
    *w = value_w;
    return;
  }
  LSEG_LAYER_CHECK(builder, values.size() <= 2,
                   name << " is given " << values.size() << " times for two axes");
  *h = values.empty() ? fallback : values[0];
  *w = values.empty() ? fallback : values[values.size() - 1];
}

}  // namespace

template <typename Params>
Params ReadConvolutionParam(const LayerBuilder& builder) {
  const caffe::ConvolutionParameter& p = builder.param().convolution_param();
  LSEG_LAYER_CHECK(builder, p.axis() == 1 || p.axis() == -3,
                   "axis " << p.axis() << " is not supported: channels are axis 1");
  LSEG_LAYER_CHECK(builder, p.has_num_output() && p.num_output() > 0,
                   "num_output must be given and positive");
  LSEG_LAYER_CHECK(builder, p.kernel_size_size() > 0 || p.has_kernel_h() || p.has_kernel_w(),
                   "kernel_size (or kernel_h and kernel_w) must be given");
  Params params;
  params.src = builder.BottomShape(0);
  params.out_channels = p.num_output();
  params.group = p.group();
  params.bias = p.bias_term();
  ReadPair(builder, "kernel_size", p.kernel_size(), p.has_kernel_h(), p.kernel_h(),
           p.has_kernel_w(), p.kernel_w(), 1, &params.kernel_h, &params.kernel_w);
  ReadPair(builder, "stride", p.stride(), p.has_stride_h(), p.stride_h(), p.has_stride_w(),
           p.stride_w(), 1, &params.stride_h, &params.stride_w);
  ReadPair(builder, "pad", p.pad(), p.has_pad_h(), p.pad_h(), p.has_pad_w(), p.pad_w(), 0,
           &params.pad_h, &params.pad_w);
  ReadPair(builder, "dilation", p.dilation(), false, 0, false, 0, 1, &params.dilation_h,
           &params.dilation_w);
  try {
    params.Validate();
  } catch (const Error& error) {
    builder.Fail(error.what(), "convolution_param");
  }
  return params;
}
template ConvParams ReadConvolutionParam<ConvParams>(const LayerBuilder& builder);
template DeconvParams ReadConvolutionParam<DeconvParams>(const LayerBuilder& builder);

void AddBias(LayerBuilder& builder, std::vector<TensorId>& inputs) {
  const caffe::ConvolutionParameter& param = builder.param().convolution_param();
  if (!param.bias_term()) return;
  LSEG_LAYER_CHECK(builder, param.bias_filler().type() != "bilinear",
                   "bias_filler bilinear: a bias has no kernel");
  const Shape shape{1, 1, 1, param.num_output()};
  // Caffe's bias has one axis, which fillers take for the first of four.
  const Shape filled{param.num_output(), 1, 1, 1};
  inputs.push_back(builder.AddParam(1, "bias", shape, [&](float* data, Random& random) {
    Fill(param.bias_filler(), filled, data, random);
  }));
}

int ReadAxis(const LayerBuilder& builder, int64_t axis) {
  LSEG_LAYER_CHECK(builder, axis >= -4 && axis < 4,
                   "axis " << axis << " is out of range: blobs have axes 0 to 3");
  return static_cast<int>(axis < 0 ? axis + 4 : axis);
}

int64_t& AxisOf(Shape& shape, int axis) {
  switch (axis) {
    case 0:
      return shape.n;
    case 1:
      return shape.c;
    case 2:
      return shape.h;
    default:
      return shape.w;
  }
}

TensorId BottomAs(LayerBuilder& builder, int i, DType wanted) {
  const TensorId bottom = builder.Bottom(i);
  const TensorDesc desc = builder.BottomDesc(i);
  if (desc.dtype == wanted) return bottom;
  const TensorId cast = builder.AddTemporary("label as " + ToString(wanted), desc.shape, wanted);
  builder.AddNode(std::make_unique<CastOp>(desc.shape.Count(), wanted), {bottom}, {cast});
  return cast;
}

SigmoidLossParams::Normalization ReadNormalization(const LayerBuilder& builder,
                                                   SigmoidLossParams::Normalization fallback) {
  using Normalization = SigmoidLossParams::Normalization;
  const caffe::LayerParameter& param = builder.param();
  if (!param.has_loss_param()) return fallback;
  const caffe::LossParameter& loss = param.loss_param();
  if (!loss.has_normalization()) {
    if (!loss.has_normalize()) return fallback;
    return loss.normalize() ? Normalization::kValid : Normalization::kBatchSize;
  }
  switch (loss.normalization()) {
    case caffe::LossParameter::FULL:
      return Normalization::kFull;
    case caffe::LossParameter::VALID:
      return Normalization::kValid;
    case caffe::LossParameter::BATCH_SIZE:
      return Normalization::kBatchSize;
    case caffe::LossParameter::NONE:
      return Normalization::kNone;
  }
  builder.Fail("unknown normalization", "loss_param");
}

}  // namespace lseg
