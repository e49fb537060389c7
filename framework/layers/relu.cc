// ReLU, in any format, in place where nobody else needs its input.
#include "framework/layers/layers.h"
#include "kernels/elementwise.h"

namespace lseg {
namespace {

// Inputs: dst, d_dst. Output: d_src.
class ReluBackwardOp : public Op {
 public:
  explicit ReluBackwardOp(float slope) : slope_(slope) {}
  std::string Name() const override { return "relu_backward"; }
  bool IsReluGradient() const override { return slope_ == 0; }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    count_ = StorageCount(in[0].shape, in[0].format);
    dtype_ = in[0].dtype;
  }
  bool InPlace(int, int input) const override { return input == 1; }
  void Run(Context& context, const OpArgs& args) const override {
    ReluBackward(context, count_, slope_, args.in[0], args.in[1], args.out[0], args.modes[0],
                 dtype_);
  }

 private:
  float slope_;
  int64_t count_ = 0;
  DType dtype_ = DType::kF32;
};

class ReluForwardOp : public Op {
 public:
  explicit ReluForwardOp(float slope) : slope_(slope) {}
  std::string Name() const override { return "relu_forward"; }
  bool IsRelu() const override { return slope_ == 0; }
  void ChooseFormats(const FormatPolicy&, std::span<TensorDesc> in,
                     std::span<TensorDesc> out) const override {
    out[0].format = in[0].format;
    out[0].dtype = in[0].dtype;
  }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    count_ = StorageCount(in[0].shape, in[0].format);
    dtype_ = in[0].dtype;
  }
  bool InPlace(int, int) const override { return true; }
  std::optional<AxisMap> Map(bool) const override { return AxisMap{}; }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    if (d_dst == kNoTensor || !builder.Wanted(0)) return;
    builder.AddGradientNode(std::make_unique<ReluBackwardOp>(slope_), {builder.output(0), d_dst},
                            {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    ReluForward(context, count_, slope_, args.in[0], args.out[0], dtype_);
  }

 private:
  float slope_;
  int64_t count_ = 0;
  DType dtype_ = DType::kF32;
};

}  // namespace

void BuildRelu(LayerBuilder& builder) {
  const float slope = builder.param().relu_param().negative_slope();
  LSEG_LAYER_CHECK(builder, slope >= 0, "negative_slope " << slope << " must not be negative");
  const TensorId bottom = BottomAs(builder, 0, DType::kF32);
  const TensorId top = builder.AddTop(0, builder.BottomShape(0));
  builder.AddNode(std::make_unique<ReluForwardOp>(slope), {bottom}, {top});
}

}  // namespace lseg
