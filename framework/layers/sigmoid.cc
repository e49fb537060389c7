// Sigmoid.
#include "framework/layers/layers.h"
#include "kernels/elementwise.h"

namespace lseg {
namespace {

// Inputs: dst, d_dst. Output: d_src.
class SigmoidBackwardOp : public Op {
 public:
  explicit SigmoidBackwardOp(int64_t count) : count_(count) {}
  std::string Name() const override { return "sigmoid_backward"; }
  void Run(Context& context, const OpArgs& args) const override {
    SigmoidBackward(context, count_, args.f32_in(0), args.f32_in(1), args.f32_out(0),
                    args.modes[0]);
  }

 private:
  int64_t count_;
};

class SigmoidForwardOp : public Op {
 public:
  explicit SigmoidForwardOp(int64_t count) : count_(count) {}
  std::string Name() const override { return "sigmoid_forward"; }
  bool IsSigmoid() const override { return true; }
  bool InPlace(int, int) const override { return true; }
  std::optional<AxisMap> Map(bool) const override { return AxisMap{}; }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    if (d_dst == kNoTensor || !builder.Wanted(0)) return;
    builder.AddGradientNode(std::make_unique<SigmoidBackwardOp>(count_), {builder.output(0), d_dst},
                            {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    SigmoidForward(context, count_, args.f32_in(0), args.f32_out(0));
  }

 private:
  int64_t count_;
};

}  // namespace

void BuildSigmoid(LayerBuilder& builder) {
  const Shape shape = builder.BottomShape(0);
  const TensorId bottom = BottomAs(builder, 0, DType::kF32);
  const TensorId top = builder.AddTop(0, shape);
  builder.AddNode(std::make_unique<SigmoidForwardOp>(shape.Count()), {bottom}, {top});
}

}  // namespace lseg
