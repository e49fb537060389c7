// What is left of L-Seg's head in training once copies are folded: for each class a concat of its
// planes of all side maps, a 1x1 convolution of that to one plane, and at last a concat of these
// planes. As one op nothing is copied, forward or backward.
#include "kernels/fuse_sides.h"

#include <algorithm>

#include "framework/layers/layers.h"
#include "framework/passes/passes.h"
#include "framework/passes/stages.h"

namespace lseg {
namespace {

// Pointers of the inputs: sides, then the classes' weights, then their biases or none.
FuseSidesArgs ArgsOf(const FuseSidesParams& params, bool bias, const OpArgs& args) {
  FuseSidesArgs fuse;
  const int sides = params.sides, classes = static_cast<int>(params.dst.c);
  for (int s = 0; s < sides; ++s) fuse.side[s] = args.f32_in(s);
  for (int c = 0; c < classes; ++c) {
    fuse.weight[c] = args.f32_in(sides + c);
    if (bias) fuse.bias[c] = args.f32_in(sides + classes + c);
  }
  return fuse;
}

// Inputs: those of the forward op, then d_dst. Outputs: gradients of those of the forward op.
class FuseSidesBackwardOp : public Op {
 public:
  FuseSidesBackwardOp(const FuseSidesParams& params, bool bias) : params_(params), bias_(bias) {}
  std::string Name() const override { return "fuse_sides_backward"; }
  void Run(Context& context, const OpArgs& args) const override {
    const int sides = params_.sides, classes = static_cast<int>(params_.dst.c);
    FuseSidesGradients gradients;
    for (int s = 0; s < sides; ++s) {
      gradients.d_side[s] = args.f32_out(s);
      gradients.d_side_mode[s] = args.modes[s];
    }
    for (int c = 0; c < classes; ++c) {
      gradients.d_weight[c] = args.f32_out(sides + c);
      gradients.d_weight_mode[c] = args.modes[sides + c];
      if (!bias_) continue;
      gradients.d_bias[c] = args.f32_out(sides + classes + c);
      gradients.d_bias_mode[c] = args.modes[sides + classes + c];
    }
    FuseSidesBackward(context, params_, ArgsOf(params_, bias_, args),
                      args.f32_in(static_cast<int>(args.in.size()) - 1), gradients);
  }

 private:
  FuseSidesParams params_;
  bool bias_;
};

// Inputs: see ArgsOf. Output: dst.
class FuseSidesOp : public Op {
 public:
  FuseSidesOp(const FuseSidesParams& params, bool bias) : params_(params), bias_(bias) {
    params_.Validate();
  }
  std::string Name() const override { return "fuse_sides"; }
  void AddGradient(GradientBuilder& builder) const override {
    const TensorId d_dst = builder.OutputGradient(0);
    std::vector<TensorId> inputs;
    std::vector<int> targets;
    bool wanted = false;
    for (int i = 0; i < builder.inputs(); ++i) {
      inputs.push_back(builder.input(i));
      targets.push_back(i);
      wanted = wanted || builder.Wanted(i);
    }
    if (d_dst == kNoTensor || !wanted) return;
    inputs.push_back(d_dst);
    builder.AddGradientNode(std::make_unique<FuseSidesBackwardOp>(params_, bias_),
                            std::move(inputs), targets);
  }
  void Run(Context& context, const OpArgs& args) const override {
    FuseSidesForward(context, params_, ArgsOf(params_, bias_, args), args.f32_out(0));
  }

 private:
  FuseSidesParams params_;
  bool bias_;
};

// What the pattern found.
struct Fusion {
  std::vector<TensorId> sides, weights, biases;
  std::vector<const Node*> nodes;  // that go
};

class Matcher {
 public:
  explicit Matcher(const Graph& graph) : graph_(graph), reads_(graph.tensors.size(), 0) {
    for (const Node& node : graph.nodes) {
      for (TensorId input : node.inputs) {
        if (input != kNoTensor) ++reads_[input];
      }
    }
  }

  // The fusion that ends in `joined`, a concat of the classes' planes.
  std::optional<Fusion> Match(const Node& joined) const {
    const std::vector<BoxCopyPart>* classes = Planes(joined);
    if (classes == nullptr) return std::nullopt;
    Fusion fusion;
    for (size_t c = 0; c < classes->size(); ++c) {
      const BoxCopyPart& part = (*classes)[c];
      if (part.params.src.c != 1 || !MatchClass(joined.inputs[part.input], c, &fusion)) {
        return std::nullopt;
      }
    }
    const bool same = fusion.biases.empty() || fusion.biases.size() == fusion.weights.size();
    const Shape& side = graph_.tensors[fusion.sides[0]].desc.shape;
    const bool fits = side.c == static_cast<int64_t>(classes->size()) &&
                      side.c <= FuseSidesParams::kMost &&
                      fusion.sides.size() <= FuseSidesParams::kMost;
    if (!same || !fits) return std::nullopt;
    return fusion;
  }

 private:
  // The copies of a node that joins whole planes, the i-th of them as plane i; null for others.
  const std::vector<BoxCopyPart>* Planes(const Node& node) const {
    const std::vector<BoxCopyPart>* parts = node.op->AsBoxCopies();
    if (parts == nullptr || node.outputs.size() != 1) return nullptr;
    for (size_t i = 0; i < parts->size(); ++i) {
      const BoxCopyParams& p = (*parts)[i].params;
      const Shape plane{p.dst.n, 1, p.dst.h, p.dst.w};
      const Shape from{0, p.src_at.c, 0, 0}, to{0, static_cast<int64_t>(i), 0, 0};
      const bool whole = p.src.n == plane.n && p.src.h == plane.h && p.src.w == plane.w;
      if (p.box != plane || p.src_at != from || p.dst_at != to || !whole) return nullptr;
    }
    const Shape& dst = parts->front().params.dst;
    return dst.c == static_cast<int64_t>(parts->size()) ? parts : nullptr;
  }

  // The node that writes a tensor which one node reads and nobody else wants.
  const Node* OnlyFor(TensorId id) const {
    return graph_.tensors[id].keep || reads_[id] != 1 ? nullptr : graph_.Writer(id);
  }

  bool MatchClass(TensorId plane, size_t c, Fusion* fusion) const {
    const Node* conv = OnlyFor(plane);
    const ConvParams* p = conv == nullptr ? nullptr : conv->op->AsConv();
    if (p == nullptr || !IsFusion(*p)) return false;
    const Node* maps = OnlyFor(conv->inputs[0]);
    const std::vector<BoxCopyPart>* parts = maps == nullptr ? nullptr : Planes(*maps);
    if (parts == nullptr || (c > 0 && parts->size() != fusion->sides.size())) return false;
    for (size_t s = 0; s < parts->size(); ++s) {
      const TensorId side = maps->inputs[(*parts)[s].input];
      if ((*parts)[s].params.src_at.c != static_cast<int64_t>(c)) return false;
      if (c == 0) fusion->sides.push_back(side);
      if (fusion->sides[s] != side ||
          (*parts)[s].params.src != graph_.tensors[fusion->sides[0]].desc.shape) {
        return false;
      }
    }
    fusion->weights.push_back(conv->inputs[1]);
    if (p->bias) fusion->biases.push_back(conv->inputs[2]);
    fusion->nodes.insert(fusion->nodes.end(), {conv, maps});
    return true;
  }

  const Graph& graph_;
  std::vector<int> reads_;
};

}  // namespace

void FuseSides(Graph& graph) {
  for (size_t i = 0; i < graph.nodes.size(); ++i) {
    const std::optional<Fusion> fusion = Matcher(graph).Match(graph.nodes[i]);
    if (!fusion) continue;
    FuseSidesParams params;
    params.dst = graph.tensors[graph.nodes[i].outputs[0]].desc.shape;
    params.sides = static_cast<int>(fusion->sides.size());
    std::vector<TensorId> inputs = fusion->sides;
    inputs.insert(inputs.end(), fusion->weights.begin(), fusion->weights.end());
    inputs.insert(inputs.end(), fusion->biases.begin(), fusion->biases.end());
    std::vector<Node> kept;
    for (Node& node : graph.nodes) {
      const bool goes =
          std::find(fusion->nodes.begin(), fusion->nodes.end(), &node) != fusion->nodes.end();
      if (goes) continue;
      if (&node == &graph.nodes[i]) {
        node.op = std::make_unique<FuseSidesOp>(params, !fusion->biases.empty());
        node.inputs = inputs;
      }
      kept.push_back(std::move(node));
    }
    graph.nodes = std::move(kept);
    i = 0;
  }
}

}  // namespace lseg
