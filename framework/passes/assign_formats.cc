// Formats in one walk down the list: an op is told what its inputs have, says what it takes, and a
// reorder fills the gap. A tensor that several ops take in the same other format is reordered once.
#include <tuple>

#include "framework/passes/passes.h"
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
    builder.AddGradientNode(std::make_unique<ReorderOp>(), {d_dst}, {0});
  }
  void Run(Context& context, const OpArgs& args) const override {
    Reorder(context, src_.shape, src_.format, args.in[0], dst_.format, args.out[0], args.modes[0],
            src_.dtype, dst_.dtype);
  }

 private:
  TensorDesc src_, dst_;
};

}  // namespace

void AssignFormats(Graph& graph, const FormatPolicy& policy) {
  std::vector<Node> placed;
  std::map<std::tuple<TensorId, Format, DType>, TensorId> reordered;
  for (Node& node : graph.nodes) {
    std::vector<TensorDesc> in = graph.Descs(node.inputs), out = graph.Descs(node.outputs);
    node.op->ChooseFormats(policy, in, out);
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      if (node.inputs[i] == kNoTensor) continue;
      const GraphTensor original = graph.tensors[node.inputs[i]];
      if (in[i].format == original.desc.format && in[i].dtype == original.desc.dtype) continue;
      TensorId& copy = reordered.try_emplace({node.inputs[i], in[i].format, in[i].dtype}, kNoTensor)
                           .first->second;
      if (copy == kNoTensor) {
        copy = graph.AddTensor({original.name + " as " + ToString(in[i].format), in[i]});
        Node reorder{node.layer,         std::make_unique<ReorderOp>(),
                     {node.inputs[i]},   {copy},
                     {GradMode::kWrite}, Stage::kForward};
        placed.push_back(std::move(reorder));
      }
      node.inputs[i] = copy;
    }
    for (size_t i = 0; i < node.outputs.size(); ++i) {
      graph.tensors[node.outputs[i]].desc.format = out[i].format;
      graph.tensors[node.outputs[i]].desc.dtype = out[i].dtype;
    }
    placed.push_back(std::move(node));
  }
  graph.nodes = std::move(placed);
}

}  // namespace lseg
