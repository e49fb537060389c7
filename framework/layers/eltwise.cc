// Eltwise: the sum of its bottoms, each times its coeff where these are given. Caffe's PROD and MAX
// are in no net of this kind, and not here.
#include "framework/layers/layers.h"
#include "kernels/elementwise.h"

namespace lseg {
namespace {

// One input a coefficient, of one format and type. Output: their sum.
class WeightedSumOp : public Op {
 public:
  explicit WeightedSumOp(std::vector<float> coefficients)
      : coefficients_(std::move(coefficients)) {}
  std::string Name() const override { return "weighted_sum"; }
  void ChooseFormats(const FormatPolicy&, std::span<TensorDesc> in,
                     std::span<TensorDesc> out) const override {
    for (TensorDesc& desc : in) {
      desc.format = in[0].format;
      desc.dtype = in[0].dtype;
    }
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
    if (d_dst == kNoTensor) return;
    for (int i = 0; i < builder.inputs(); ++i) {
      if (!builder.Wanted(i)) continue;
      builder.AddGradientNode(std::make_unique<WeightedSumOp>(std::vector<float>{coefficients_[i]}),
                              {d_dst}, {i});
    }
  }
  void Run(Context& context, const OpArgs& args) const override {
    SumTerm terms[kMostSumTerms];
    for (size_t i = 0; i < coefficients_.size(); ++i) terms[i] = {args.in[i], coefficients_[i]};
    WeightedSum(context, count_, {terms, coefficients_.size()}, args.out[0], args.modes[0], dtype_);
  }

 private:
  std::vector<float> coefficients_;
  int64_t count_ = 0;
  DType dtype_ = DType::kF32;
};

}  // namespace

void BuildEltwise(LayerBuilder& builder) {
  const caffe::EltwiseParameter& param = builder.param().eltwise_param();
  if (param.operation() != caffe::EltwiseParameter::SUM) {
    builder.Fail("operation " + caffe::EltwiseParameter::EltwiseOp_Name(param.operation()) +
                     " is not supported: SUM is",
                 "eltwise_param.operation");
  }
  std::vector<float> coefficients(param.coeff().begin(), param.coeff().end());
  if (coefficients.empty()) coefficients.assign(builder.bottoms(), 1.0f);
  LSEG_LAYER_CHECK(builder, static_cast<int>(coefficients.size()) == builder.bottoms(),
                   coefficients.size() << " coeff for " << builder.bottoms()
                                       << " bottoms: give one a bottom, or none");
  std::vector<TensorId> inputs;
  for (int i = 0; i < builder.bottoms(); ++i) {
    LSEG_LAYER_CHECK(builder, builder.BottomShape(i) == builder.BottomShape(0),
                     "bottom '" << builder.param().bottom(i) << "' is "
                                << ToString(builder.BottomShape(i)) << ", bottom '"
                                << builder.param().bottom(0) << "' "
                                << ToString(builder.BottomShape(0)) << ": they must be equal");
    inputs.push_back(BottomAs(builder, i, DType::kF32));
  }
  const TensorId top = builder.AddTop(0, builder.BottomShape(0));
  builder.AddNode(std::make_unique<WeightedSumOp>(std::move(coefficients)), std::move(inputs),
                  {top});
}

}  // namespace lseg
