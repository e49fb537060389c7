// Weights in the form that a convolution's engine wants: packed once in inference, anew in each
// training iteration, where the packed copy lives only from its packing to its use.
#include "framework/passes/passes.h"

namespace lseg {
namespace {

class PackOp : public Op {
 public:
  PackOp(const Op* user, int input) : user_(user), input_(input) {}
  std::string Name() const override { return "pack_weights"; }
  void Run(Context& context, const OpArgs& args) const override {
    user_->Pack(context, input_, args.in[0], args.out[0]);
  }

 private:
  const Op* user_;  // lives in the same graph
  int input_;
};

}  // namespace

void PrepareOps(Graph& graph, PrepareContext& prepare) {
  for (Node& node : graph.nodes) {
    const std::vector<TensorDesc> in = graph.Descs(node.inputs);
    std::vector<TensorDesc> out = graph.Descs(node.outputs);
    node.op->Prepare(prepare, in, out);
    node.op->SettleOutputs(out);
    for (size_t i = 0; i < out.size(); ++i) {
      if (node.outputs[i] != kNoTensor) graph.tensors[node.outputs[i]].desc = out[i];
    }
  }
}

void PackWeights(Graph& graph, bool training) {
  std::vector<Node> packs, nodes;
  for (Node& node : graph.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const int64_t bytes = node.op->PackedBytes(static_cast<int>(i));
      if (bytes == 0) continue;
      const GraphTensor plain = graph.tensors[node.inputs[i]];
      const TensorId packed =
          graph.AddTensor({"packed " + plain.name,
                           {plain.desc.shape, plain.desc.dtype, Format::kOpaque, bytes},
                           training ? TensorKind::kActivation : TensorKind::kState});
      Node pack{node.layer,         std::make_unique<PackOp>(node.op.get(), static_cast<int>(i)),
                {node.inputs[i]},   {packed},
                {GradMode::kWrite}, training ? node.stage : Stage::kPack};
      (training ? nodes : packs).push_back(std::move(pack));
      node.inputs[i] = packed;
    }
    nodes.push_back(std::move(node));
  }
  packs.insert(packs.end(), std::make_move_iterator(nodes.begin()),
               std::make_move_iterator(nodes.end()));
  graph.nodes = std::move(packs);
}

}  // namespace lseg
