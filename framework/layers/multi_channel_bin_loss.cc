// MultiChannelBinSigmoidCrossEntropyLoss, L-Seg's loss; the formulas stand in kernels/bin_loss.h.
#include "framework/layers/layers.h"
#include "kernels/bin_loss.h"

namespace lseg {
namespace {

// Inputs: logits, label, stats, loss scale. Output: d_logits.
class BinLossBackwardOp : public Op {
 public:
  BinLossBackwardOp(const BinLossParams& params, float weight) : params_(params), weight_(weight) {}
  std::string Name() const override { return "bin_loss_backward"; }
  void Run(Context& context, const OpArgs& args) const override {
    BinLossBackward(context, params_, args.f32_in(0), static_cast<const uint8_t*>(args.in[1]),
                    static_cast<const BinLossStats*>(args.in[2]), weight_, args.f32_out(0),
                    args.modes[0], args.f32_in(3));
  }

 private:
  BinLossParams params_;
  float weight_;
};

// Inputs: logits, label. Outputs: loss, stats.
class BinLossForwardOp : public Op {
 public:
  BinLossForwardOp(const BinLossParams& params, float weight) : params_(params), weight_(weight) {}
  std::string Name() const override { return "bin_loss_forward"; }
  void AddGradient(GradientBuilder& builder) const override {
    if (builder.OutputGradient(0) == kNoTensor || !builder.Wanted(0)) return;
    builder.AddGradientNode(
        std::make_unique<BinLossBackwardOp>(params_, weight_),
        {builder.input(0), builder.input(1), builder.output(1), builder.loss_scale()}, {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    BinLossForward(context, params_, args.f32_in(0), static_cast<const uint8_t*>(args.in[1]),
                   static_cast<BinLossStats*>(args.out[1]), args.f32_out(0));
  }

 private:
  BinLossParams params_;
  float weight_;
};

// The factor of loss_param's normalization. The published loss is a sum over pixels and a mean over
// images; FULL and VALID divide by an image's pixels as well, NONE takes the mean over images back.
float Scale(const LayerBuilder& builder, const Shape& logits) {
  using Normalization = SigmoidLossParams::Normalization;
  switch (ReadNormalization(builder, Normalization::kBatchSize)) {
    case Normalization::kBatchSize:
      return 1;
    case Normalization::kFull:
    case Normalization::kValid:
      return 1.0f / static_cast<float>(logits.h * logits.w);
    case Normalization::kNone:
      return static_cast<float>(logits.n);
  }
  builder.Fail("unknown normalization", "loss_param");
}

}  // namespace

void BuildMultiChannelBinLoss(LayerBuilder& builder) {
  const caffe::MCBSCELossParameter& param = builder.param().mcbsce_loss_param();
  LSEG_LAYER_CHECK(builder, !builder.param().loss_param().has_ignore_label(),
                   "ignore_label is not supported by this loss");
  if (param.has_ratio())
    builder.Note("mcbsce_loss_param.ratio has no effect, as in the publication");
  BinLossParams loss;
  loss.logits = builder.BottomShape(0);
  loss.label = builder.BottomShape(1);
  loss.key = param.key();
  loss.num_label = param.num_label();
  loss.published_backward = param.published_backward();
  loss.scale = Scale(builder, loss.logits);
  try {
    loss.Validate();
  } catch (const Error& error) {
    builder.Fail(error.what());
  }
  const TensorId logits = builder.Bottom(0);
  const TensorId label = AsType(builder, builder.Bottom(1), builder.BottomDesc(1), DType::kU8);
  const TensorId top = builder.AddTop(0, {1, 1, 1, 1});
  const TensorId stats =
      builder.AddTemporary("bin statistics", {1, 1, 1, loss.StatsBytes()}, DType::kU8);
  const float weight = builder.AddLoss(top);
  builder.AddNode(std::make_unique<BinLossForwardOp>(loss, weight), {logits, label}, {top, stats});
}

}  // namespace lseg
