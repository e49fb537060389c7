// MultiChannelBinSigmoidCrossEntropyLoss, L-Seg's loss; the formulas stand in kernels/bin_loss.h.
#include "framework/layers/layers.h"
#include "kernels/bin_loss.h"

namespace lseg {
namespace {

// Inputs: label, loss scale, then logits and stats of each loss. Outputs: d_logits of each.
class BinLossBackwardOp : public Op {
 public:
  explicit BinLossBackwardOp(BinLosses losses) : losses_(std::move(losses)) {}
  std::string Name() const override { return "bin_loss_backward"; }
  void Run(Context& context, const OpArgs& args) const override {
    std::vector<BinLossGradientTask> tasks;
    for (int i = 0; i < static_cast<int>(losses_.weights.size()); ++i) {
      tasks.push_back({args.f32_in(2 + 2 * i), static_cast<const BinLossStats*>(args.in[3 + 2 * i]),
                       losses_.weights[i], args.f32_out(i), args.modes[i]});
    }
    BinLossesBackward(context, losses_.params, static_cast<const uint8_t*>(args.in[0]), tasks,
                      args.f32_in(1));
  }

 private:
  BinLosses losses_;
};

// Inputs: label, then logits of each loss. Outputs: value and stats of each.
class BinLossForwardOp : public Op {
 public:
  explicit BinLossForwardOp(BinLosses losses) : losses_(std::move(losses)) {}
  std::string Name() const override { return "bin_loss_forward"; }
  const BinLosses* AsBinLosses() const override { return &losses_; }
  void AddGradient(GradientBuilder& builder) const override {
    BinLosses wanted{losses_.params, {}};
    std::vector<TensorId> inputs = {builder.input(0), builder.loss_scale()};
    std::vector<int> targets;
    for (int i = 0; i < static_cast<int>(losses_.weights.size()); ++i) {
      if (builder.OutputGradient(2 * i) == kNoTensor || !builder.Wanted(1 + i)) continue;
      wanted.weights.push_back(losses_.weights[i]);
      inputs.insert(inputs.end(), {builder.input(1 + i), builder.output(2 * i + 1)});
      targets.push_back(1 + i);
    }
    if (targets.empty()) return;
    builder.AddGradientNode(std::make_unique<BinLossBackwardOp>(std::move(wanted)),
                            std::move(inputs), targets);
  }
  void Run(Context& context, const OpArgs& args) const override {
    std::vector<BinLossTask> tasks;
    for (int i = 0; i < static_cast<int>(losses_.weights.size()); ++i) {
      tasks.push_back({args.f32_in(1 + i), static_cast<BinLossStats*>(args.out[2 * i + 1]),
                       args.f32_out(2 * i)});
    }
    BinLossesForward(context, losses_.params, static_cast<const uint8_t*>(args.in[0]), tasks);
  }

 private:
  BinLosses losses_;
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

std::unique_ptr<Op> MakeBinLossOp(BinLosses losses) {
  return std::make_unique<BinLossForwardOp>(std::move(losses));
}

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
  const TensorId logits = BottomAs(builder, 0, DType::kF32);
  const TensorId label = BottomAs(builder, 1, DType::kU8);
  const TensorId top = builder.AddTop(0, {1, 1, 1, 1});
  const TensorId stats =
      builder.AddTemporary("bin statistics", {1, 1, 1, loss.StatsBytes()}, DType::kU8);
  const float weight = builder.AddLoss(top);
  builder.AddNode(MakeBinLossOp({loss, {weight}}), {label, logits}, {top, stats});
}

}  // namespace lseg
