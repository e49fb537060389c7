// SoftmaxWithLoss: logits (N,C,H,W) and a class map (N,1,H,W), or a plane a class but the first,
// one number out.
#include "framework/layers/layers.h"
#include "kernels/softmax.h"

namespace lseg {
namespace {

// Inputs: logits, label, normalizer, loss scale. Output: d_logits.
class SoftmaxLossBackwardOp : public Op {
 public:
  SoftmaxLossBackwardOp(const SoftmaxLossParams& params, float weight)
      : params_(params), weight_(weight) {}
  std::string Name() const override { return "softmax_loss_backward"; }
  void Run(Context& context, const OpArgs& args) const override {
    SoftmaxLossBackward(context, params_, args.f32_in(0), static_cast<const uint8_t*>(args.in[1]),
                        args.f32_in(2), weight_, args.f32_out(0), args.modes[0], args.f32_in(3));
  }

 private:
  SoftmaxLossParams params_;
  float weight_;
};

// Inputs: logits, label. Outputs: loss, normalizer.
class SoftmaxLossForwardOp : public Op {
 public:
  SoftmaxLossForwardOp(const SoftmaxLossParams& params, float weight)
      : params_(params), weight_(weight) {}
  std::string Name() const override { return "softmax_loss_forward"; }
  void AddGradient(GradientBuilder& builder) const override {
    if (builder.OutputGradient(0) == kNoTensor || !builder.Wanted(0)) return;
    builder.AddGradientNode(
        std::make_unique<SoftmaxLossBackwardOp>(params_, weight_),
        {builder.input(0), builder.input(1), builder.output(1), builder.loss_scale()}, {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    SoftmaxLossForward(context, params_, args.f32_in(0), static_cast<const uint8_t*>(args.in[1]),
                       args.f32_out(1), args.f32_out(0));
  }

 private:
  SoftmaxLossParams params_;
  float weight_;
};

}  // namespace

void CheckSoftmaxAxis(const LayerBuilder& builder) {
  const int axis = builder.param().softmax_param().axis();
  if (axis != 1 && axis != -3) {
    builder.Fail("axis " + std::to_string(axis) + " is not supported: channels are axis 1",
                 "softmax_param.axis");
  }
}

void BuildSoftmaxLoss(LayerBuilder& builder) {
  CheckSoftmaxAxis(builder);
  SoftmaxLossParams loss;
  loss.logits = builder.BottomShape(0);
  loss.label = builder.BottomShape(1);
  loss.normalization = ReadNormalization(builder, SigmoidLossParams::Normalization::kValid);
  loss.has_ignore = builder.param().loss_param().has_ignore_label();
  loss.ignore = builder.param().loss_param().ignore_label();
  try {
    loss.Validate();
  } catch (const Error& error) {
    builder.Fail(error.what());
  }
  const TensorId logits = BottomAs(builder, 0, DType::kF32);
  const TensorId label = BottomAs(builder, 1, DType::kU8);
  const TensorId top = builder.AddTop(0, {1, 1, 1, 1});
  const TensorId normalizer = builder.AddTemporary("normalizer", {1, 1, 1, 1});
  const float weight = builder.AddLoss(top);
  builder.AddNode(std::make_unique<SoftmaxLossForwardOp>(loss, weight), {logits, label},
                  {top, normalizer});
}

}  // namespace lseg
