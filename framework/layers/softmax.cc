// Softmax over channels.
#include "kernels/softmax.h"

#include "framework/layers/layers.h"

namespace lseg {
namespace {

// Inputs: dst, d_dst. Output: d_src.
class SoftmaxBackwardOp : public Op {
 public:
  explicit SoftmaxBackwardOp(const Shape& shape) : shape_(shape) {}
  std::string Name() const override { return "softmax_backward"; }
  void Run(Context& context, const OpArgs& args) const override {
    SoftmaxBackward(context, shape_, args.f32_in(0), args.f32_in(1), args.f32_out(0),
                    args.modes[0]);
  }

 private:
  Shape shape_;
};

class SoftmaxForwardOp : public Op {
 public:
  explicit SoftmaxForwardOp(const Shape& shape) : shape_(shape) {}
  std::string Name() const override { return "softmax_forward"; }
  bool InPlace(int, int) const override { return true; }
  std::optional<AxisMap> Map(bool) const override { return AxisMap{}; }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    if (d_dst == kNoTensor || !builder.Wanted(0)) return;
    builder.AddGradientNode(std::make_unique<SoftmaxBackwardOp>(shape_), {builder.output(0), d_dst},
                            {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    SoftmaxForward(context, shape_, args.f32_in(0), args.f32_out(0));
  }

 private:
  Shape shape_;
};

}  // namespace

void BuildSoftmax(LayerBuilder& builder) {
  CheckSoftmaxAxis(builder);
  const Shape shape = builder.BottomShape(0);
  const TensorId bottom = BottomAs(builder, 0, DType::kF32);
  const TensorId top = builder.AddTop(0, shape);
  builder.AddNode(std::make_unique<SoftmaxForwardOp>(shape), {bottom}, {top});
}

}  // namespace lseg
