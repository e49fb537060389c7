// SigmoidCrossEntropyLoss: logits and targets of one shape, one number out.
#include "framework/layers/layers.h"

namespace lseg {
namespace {

// Inputs: logits, target, normalizer, loss scale. Output: d_logits.
class SigmoidLossBackwardOp : public Op {
 public:
  SigmoidLossBackwardOp(const SigmoidLossParams& params, float weight)
      : params_(params), weight_(weight) {}
  std::string Name() const override { return "sigmoid_loss_backward"; }
  void Run(Context& context, const OpArgs& args) const override {
    SigmoidLossBackward(context, params_, args.f32_in(0), args.f32_in(1), args.f32_in(2), weight_,
                        args.f32_out(0), args.modes[0], args.f32_in(3));
  }

 private:
  SigmoidLossParams params_;
  float weight_;
};

// Inputs: logits, target. Outputs: loss, normalizer.
class SigmoidLossForwardOp : public Op {
 public:
  SigmoidLossForwardOp(const SigmoidLossParams& params, float weight)
      : params_(params), weight_(weight) {}
  std::string Name() const override { return "sigmoid_loss_forward"; }
  void AddGradient(GradientBuilder& builder) const override {
    if (builder.OutputGradient(0) == kNoTensor || !builder.Wanted(0)) return;
    LSEG_CHECK(
        !builder.Wanted(1) || builder.IsNetInput(1),
        "SigmoidCrossEntropyLoss: something learns behind the target, which has no gradient");
    builder.AddGradientNode(
        std::make_unique<SigmoidLossBackwardOp>(params_, weight_),
        {builder.input(0), builder.input(1), builder.output(1), builder.loss_scale()}, {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    SigmoidLossForward(context, params_, args.f32_in(0), args.f32_in(1), args.f32_out(1),
                       args.f32_out(0));
  }

 private:
  SigmoidLossParams params_;
  float weight_;
};

}  // namespace

void BuildSigmoidLoss(LayerBuilder& builder) {
  const Shape shape = builder.BottomShape(0);
  LSEG_LAYER_CHECK(builder, builder.BottomShape(1) == shape,
                   "logits '" << builder.param().bottom(0) << "' are " << ToString(shape)
                              << ", the target '" << builder.param().bottom(1) << "' is "
                              << ToString(builder.BottomShape(1)) << ": they must be equal");
  SigmoidLossParams loss;
  loss.count = shape.Count();
  loss.batch = shape.n;
  loss.normalization = ReadNormalization(builder, SigmoidLossParams::Normalization::kBatchSize);
  loss.has_ignore = builder.param().loss_param().has_ignore_label();
  loss.ignore = builder.param().loss_param().ignore_label();
  const TensorId logits = BottomAs(builder, 0, DType::kF32);
  const TensorId target = BottomAs(builder, 1, DType::kF32);
  const TensorId top = builder.AddTop(0, {1, 1, 1, 1});
  const TensorId normalizer = builder.AddTemporary("normalizer", {1, 1, 1, 1});
  const float weight = builder.AddLoss(top);
  builder.AddNode(std::make_unique<SigmoidLossForwardOp>(loss, weight), {logits, target},
                  {top, normalizer});
}

}  // namespace lseg
