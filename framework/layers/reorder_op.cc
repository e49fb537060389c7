// From one memory format or element type to another.
#include "framework/layers/layers.h"
#include "kernels/reorder.h"

namespace lseg {
namespace {

class ReorderOp : public Op {
 public:
  std::string Name() const override { return "reorder"; }
  void ChooseFormats(const FormatPolicy&, std::span<TensorDesc>,
                     std::span<TensorDesc>) const override {}
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc> out) override {
    src_ = in[0];
    dst_ = out[0];
  }
  std::optional<AxisMap> Map(bool) const override { return AxisMap{}; }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    if (d_dst == kNoTensor || !builder.Wanted(0)) return;
    builder.AddGradientNode(MakeReorderOp(), {d_dst}, {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    Reorder(context, src_.shape, src_.format, args.in[0], dst_.format, args.out[0], args.modes[0],
            src_.dtype, dst_.dtype);
  }

 private:
  TensorDesc src_, dst_;
};

}  // namespace

std::unique_ptr<Op> MakeReorderOp() { return std::make_unique<ReorderOp>(); }

}  // namespace lseg
