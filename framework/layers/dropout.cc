// Dropout: in phase TRAIN a node, in phase TEST nothing at all, the top is the bottom.
#include "kernels/dropout.h"

#include "framework/layers/layers.h"

namespace lseg {
namespace {

// Inputs: src, batch number. Output: dst. Its gradient is the same op.
class DropoutOp : public Op {
 public:
  explicit DropoutOp(const DropoutParams& params) : params_(params) {}
  std::string Name() const override { return "dropout"; }
  void ChooseFormats(const FormatPolicy&, std::span<TensorDesc> in,
                     std::span<TensorDesc> out) const override {
    out[0].format = in[0].format;
    out[0].dtype = in[0].dtype;
  }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    params_.count = StorageCount(in[0].shape, in[0].format);
    dtype_ = in[0].dtype;
  }
  bool InPlace(int, int input) const override { return input == 0; }
  std::optional<AxisMap> Map(bool) const override { return AxisMap{}; }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    if (d_dst == kNoTensor || !builder.Wanted(0)) return;
    builder.AddGradientNode(std::make_unique<DropoutOp>(params_), {d_dst, builder.input(1)}, {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    Dropout(context, params_, static_cast<const int32_t*>(args.in[1]), args.in[0], args.out[0],
            args.modes[0], dtype_);
  }

 private:
  DropoutParams params_;
  DType dtype_ = DType::kF32;
};

}  // namespace

void BuildDropout(LayerBuilder& builder) {
  DropoutParams params;
  params.ratio = builder.param().dropout_param().dropout_ratio();
  params.seed = builder.LayerSeed();
  try {
    params.Validate();
  } catch (const Error& error) {
    builder.Fail(error.what(), "dropout_param.dropout_ratio");
  }
  if (!builder.training_phase()) {
    builder.AliasTop(0, builder.Bottom(0));
    return;
  }
  const TensorId bottom = BottomAs(builder, 0, DType::kF32);
  const TensorId batch = builder.BatchNumber();
  const TensorId top = builder.AddTop(0, builder.BottomShape(0));
  builder.AddNode(std::make_unique<DropoutOp>(params), {bottom, batch}, {top});
}

}  // namespace lseg
