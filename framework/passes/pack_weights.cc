// Weights in the form that a convolution's engine wants: packed once in inference, anew in each
// training iteration. There, the packed copy lives only from its packing to its use; on a GPU,
// whose launches cost more than such copies are worth, all of a stage are packed where it begins.
#include <map>

#include "framework/passes/passes.h"
#include "kernels/conv.h"
#include "kernels/runtime/buffer.h"

namespace lseg {
namespace {

// Inputs: weights. Outputs: as the plans take them.
class PackOp : public Op {
 public:
  explicit PackOp(std::vector<const ConvPlan*> plans) : plans_(std::move(plans)) {}
  std::string Name() const override { return "pack_weights"; }
  void Run(Context& context, const OpArgs& args) const override {
    std::vector<ConvPack> packs;
    for (size_t i = 0; i < plans_.size(); ++i) {
      packs.push_back({plans_[i], args.f32_in(static_cast<int>(i)), args.out[i]});
    }
    PackConvWeights(context, packs);
  }

 private:
  std::vector<const ConvPlan*> plans_;  // live in the same graph
};

// What one node will pack.
struct Group {
  std::string layer;
  std::vector<const ConvPlan*> plans;
  std::vector<TensorId> weights, packed;

  Node ToNode(Stage stage) {
    Node node{layer,
              std::make_unique<PackOp>(std::move(plans)),
              std::move(weights),
              std::move(packed),
              {},
              stage};
    node.modes.assign(node.outputs.size(), GradMode::kWrite);
    return node;
  }
};

// "net.prototxt:12: layer 'conv1' (Convolution): ", of the layer that a node's name is from; empty
// for nodes of none.
std::string WhereIs(const NetDefinition& definition, const std::string& layer) {
  for (int i = 0; i < definition.layer_count(); ++i) {
    const caffe::LayerParameter& param = definition.layer(i);
    const bool named = !param.name().empty() || param.top_size() > 0;
    if (named && (param.name().empty() ? param.top(0) : param.name()) == layer) {
      return definition.Where(i) + ": ";
    }
  }
  return "";
}

}  // namespace

void PrepareOps(Graph& graph, const NetDefinition& definition, PrepareContext& prepare) {
  for (Node& node : graph.nodes) {
    const std::vector<TensorDesc> in = graph.Descs(node.inputs);
    std::vector<TensorDesc> out = graph.Descs(node.outputs);
    try {
      node.op->Prepare(prepare, in, out);
    } catch (const OutOfMemory&) {
      throw;
    } catch (const Error& error) {
      throw Error(WhereIs(definition, node.layer) + error.what());
    }
    node.op->SettleOutputs(out);
    for (size_t i = 0; i < out.size(); ++i) {
      if (node.outputs[i] != kNoTensor) graph.tensors[node.outputs[i]].desc = out[i];
    }
  }
}

void PackWeights(Graph& graph, bool training, bool together) {
  std::map<Stage, Group> groups;
  std::map<Stage, size_t> first;  // place in `nodes` of a stage's first user
  std::vector<Node> nodes;
  for (Node& node : graph.nodes) {
    for (size_t i = 0; i < node.inputs.size(); ++i) {
      const ConvPlan* plan = node.op->PackedFor(static_cast<int>(i));
      if (plan == nullptr) continue;
      const GraphTensor plain = graph.tensors[node.inputs[i]];
      const TensorId packed = graph.AddTensor(
          {"packed " + plain.name,
           {plain.desc.shape, plain.desc.dtype, Format::kOpaque, plan->PackedWeightBytes()},
           training ? TensorKind::kActivation : TensorKind::kState});
      const Stage stage = training ? node.stage : Stage::kPack;
      Group& group = groups[stage];
      first.try_emplace(stage, nodes.size());
      group.layer = together ? "weights" : node.layer;
      group.plans.push_back(plan);
      group.weights.push_back(node.inputs[i]);
      group.packed.push_back(packed);
      node.inputs[i] = packed;
      if (together) continue;
      nodes.push_back(group.ToNode(stage));
      group = {};
    }
    nodes.push_back(std::move(node));
  }
  if (together) {
    for (auto group = groups.rbegin(); group != groups.rend(); ++group) {
      const auto place = static_cast<std::ptrdiff_t>(first.at(group->first));
      nodes.insert(nodes.begin() + place, group->second.ToNode(group->first));
    }
  }
  graph.nodes = std::move(nodes);
}

std::vector<TensorId> UnreadByRuns(const Graph& graph) {
  std::vector<bool> read(graph.tensors.size(), false);
  for (const Node& node : graph.nodes) {
    if (node.stage == Stage::kPack) continue;
    for (const TensorId id : node.inputs) {
      if (id != kNoTensor) read[id] = true;
    }
  }
  std::vector<TensorId> unread;
  for (size_t id = 0; id < graph.tensors.size(); ++id) {
    const bool parameter = graph.tensors[id].kind == TensorKind::kParam;
    if (parameter && !read[id]) unread.push_back(static_cast<TensorId>(id));
  }
  return unread;
}

}  // namespace lseg
