// L-Seg's head as one op: score maps -> upsampling -> crop -> slices -> concats -> fusion ->
// sigmoid would write and read each side map, at the size of the image, several times. What
// replaces it reads the score maps and writes the answer (kernels/fuse_head.h). The weights decide
// whether it may: upsampling has to be the bilinear kernel, channel i to channel i.
#include <algorithm>

#include "framework/filler.h"
#include "framework/layers/layers.h"
#include "framework/passes/passes.h"
#include "framework/passes/stages.h"
#include "kernels/conv.h"
#include "kernels/deconv.h"
#include "kernels/fuse_head.h"

namespace lseg {
namespace {

struct Side {
  TensorId score = kNoTensor, bias = kNoTensor;  // bias of the upsampling
  FuseHeadParams::Level level;
};

// What the pattern found: the nodes that go, the tensors that stay.
struct Head {
  std::vector<Side> sides;
  std::vector<TensorId> weights, biases;  // of the fusions, by class
  TensorId answer = kNoTensor;
  std::vector<const Node*> nodes;  // all replaced, the sigmoid last
};

// Inputs: (C weights of 1xLx1x1, C biases). Outputs: weight (1,1,C,L), bias (1,1,1,C).
class GatherFusionOp : public Op {
 public:
  GatherFusionOp(int64_t classes, int64_t levels) : classes_(classes), levels_(levels) {}
  std::string Name() const override { return "gather_fusion"; }
  void Run(Context& context, const OpArgs& args) const override {
    for (int64_t c = 0; c < classes_; ++c) {
      BoxCopyParams row;
      row.src = row.box = {1, 1, 1, levels_};
      row.dst = {1, 1, classes_, levels_};
      row.dst_at.h = c;
      BoxCopy(context, row, args.f32_in(static_cast<int>(c)), args.f32_out(0), GradMode::kWrite);
      const auto bias = static_cast<int>(classes_ + c);
      if (args.in[bias] == nullptr) continue;  // none: the state's zero stays
      BoxCopyParams one;
      one.src = one.box = {1, 1, 1, 1};
      one.dst = {1, 1, 1, classes_};
      one.dst_at.w = c;
      BoxCopy(context, one, args.f32_in(bias), args.f32_out(1), GradMode::kWrite);
    }
  }

 private:
  int64_t classes_, levels_;
};

// Inputs as FoldedHeadInputs has them. Output: probability.
class FuseHeadOp : public Op {
 public:
  explicit FuseHeadOp(const FuseHeadParams& params) : params_(params) { params_.Validate(); }
  std::string Name() const override { return "fuse_head"; }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    for (int l = 0; l < params_.levels; ++l) {
      params_.level[l].partials = in[FoldedHeadInputs::Score(l)].shape.n / params_.dst.n;
    }
    params_.Validate();
  }
  void Run(Context& context, const OpArgs& args) const override {
    FuseHeadArgs head;
    head.weight = args.f32_in(FoldedHeadInputs::kWeight);
    head.bias = args.f32_in(FoldedHeadInputs::kBias);
    for (int l = 0; l < params_.levels; ++l) {
      head.level[l].score = args.f32_in(FoldedHeadInputs::Score(l));
      head.level[l].score_bias = args.f32_in(FoldedHeadInputs::ScoreBias(l));
      head.level[l].side_bias = args.f32_in(FoldedHeadInputs::SideBias(l));
    }
    head.probability = args.f32_out(0);
    FuseHead(context, params_, head);
  }

 private:
  FuseHeadParams params_;
};

class Matcher {
 public:
  Matcher(const Graph& graph, const std::map<TensorId, const Tensor*>& parameters)
      : graph_(graph), parameters_(parameters), readers_(graph.tensors.size(), 0) {
    for (const Node& node : graph.nodes) {
      for (TensorId input : node.inputs) {
        if (input != kNoTensor) ++readers_[input];
      }
    }
  }

  // The head that ends in `sigmoid`; nothing where it is none, with the reason where the shape
  // fits and the weights do not.
  std::optional<Head> Match(const Node& sigmoid, std::string* reason) {
    head_ = Head{};
    reason_ = reason;
    head_.answer = sigmoid.outputs[0];
    if (!MatchFusions(sigmoid.inputs[0])) return std::nullopt;
    head_.nodes.push_back(&sigmoid);
    return std::move(head_);
  }

 private:
  // The node that writes a tensor which, besides `reads` readers, nobody wants.
  const Node* Writer(TensorId id, int reads) const {
    if (graph_.tensors[id].keep || readers_[id] != reads) return nullptr;
    return graph_.Writer(id);
  }

  // Channels one after the other, each a tensor of its own.
  const Node* ConcatOfChannels(TensorId id) const {
    const Node* node = Writer(id, 1);
    if (node == nullptr || node->op->Name() != "concat") return nullptr;
    for (TensorId input : node->inputs) {
      if (graph_.tensors[input].desc.shape.c != 1) return nullptr;
    }
    const auto channels = static_cast<int64_t>(node->inputs.size());
    return graph_.tensors[id].desc.shape.c == channels ? node : nullptr;
  }

  bool MatchFusions(TensorId logits) {
    const Node* concat = ConcatOfChannels(logits);
    if (concat == nullptr) return false;
    const int64_t classes = graph_.tensors[logits].desc.shape.c;
    std::vector<TensorId> sides;
    for (int64_t c = 0; c < classes; ++c) {
      const Node* fusion = Writer(concat->inputs[c], 1);
      const ConvParams* conv = fusion == nullptr ? nullptr : fusion->op->AsConv();
      if (conv == nullptr || !IsFusion(*conv)) return false;
      if (!MatchClass(fusion->inputs[0], c, classes, &sides)) return false;
      head_.weights.push_back(fusion->inputs[1]);
      head_.biases.push_back(conv->bias ? fusion->inputs[2] : kNoTensor);
      head_.nodes.push_back(fusion);
    }
    head_.nodes.push_back(concat);
    for (TensorId side : sides) {
      if (!MatchSide(side)) return false;
    }
    return sides.size() <= FuseHeadParams::kMaxLevels;
  }

  // The maps of class c of all sides, in the sides' order.
  bool MatchClass(TensorId maps, int64_t c, int64_t classes, std::vector<TensorId>* sides) {
    const Node* concat = ConcatOfChannels(maps);
    if (concat == nullptr) return false;
    if (c > 0 && concat->inputs.size() != sides->size()) return false;
    for (size_t l = 0; l < concat->inputs.size(); ++l) {
      const Node* slice = Writer(concat->inputs[l], 1);
      if (slice == nullptr || slice->op->Name() != "slice" ||
          static_cast<int64_t>(slice->outputs.size()) != classes ||
          slice->outputs[c] != concat->inputs[l]) {
        return false;
      }
      const BoxCopyParams& cut = (*slice->op->AsBoxCopies())[c].params;
      if (cut.src_at != Shape{0, c, 0, 0} || cut.dst != Shape{cut.src.n, 1, cut.src.h, cut.src.w}) {
        return false;
      }
      if (c == 0) {
        sides->push_back(slice->inputs[0]);
        head_.nodes.push_back(slice);
      } else if ((*sides)[l] != slice->inputs[0]) {
        return false;
      }
    }
    head_.nodes.push_back(concat);
    return true;
  }

  bool MatchSide(TensorId id) {
    const Node* crop = Writer(id, 1);
    if (crop == nullptr || crop->op->Name() != "crop") return false;
    const BoxCopyParams& cut = crop->op->AsBoxCopies()->front().params;
    if (cut.src_at.n != 0 || cut.src_at.c != 0 || cut.dst.n != cut.src.n ||
        cut.dst.c != cut.src.c) {
      return false;
    }
    Side side;
    side.level.offset_h = cut.src_at.h;
    side.level.offset_w = cut.src_at.w;
    side.score = crop->inputs[0];
    const Node* up = Writer(side.score, 1);
    if (up != nullptr && up->op->AsDeconv() != nullptr) {
      const DeconvParams& deconv = *up->op->AsDeconv();
      if (!IsBilinear(deconv, up->inputs[1])) return false;
      side.level.stride = deconv.stride_h;
      side.level.offset_h += deconv.pad_h;
      side.level.offset_w += deconv.pad_w;
      side.score = up->inputs[0];
      side.bias = deconv.bias ? up->inputs[2] : kNoTensor;
      head_.nodes.push_back(up);
    }
    const Shape& score = graph_.tensors[side.score].desc.shape;
    side.level.height = score.h;
    side.level.width = score.w;
    head_.nodes.push_back(crop);
    head_.sides.push_back(side);
    return true;
  }

  bool IsBilinear(const DeconvParams& deconv, TensorId weight) {
    const int64_t s = deconv.stride_h;
    if (s < 2 || s > FuseHeadParams::kMaxStride) return false;  // 1 is no upsampling to the kernel
    if (deconv.stride_w != s || deconv.kernel_h != 2 * s || deconv.kernel_w != 2 * s ||
        deconv.dilation_h != 1 || deconv.dilation_w != 1 || deconv.out_channels != deconv.src.c) {
      return false;
    }
    const Shape shape = deconv.Weight();
    std::vector<float> wanted(shape.Count()), there(shape.Count());
    if (deconv.group == 1) {
      FillBilinearDiagonal(shape, wanted.data());
    } else if (deconv.group == deconv.src.c) {
      for (int64_t c = 0; c < shape.n; ++c) {
        FillBilinearDiagonal({1, 1, shape.h, shape.w}, wanted.data() + c * shape.h * shape.w);
      }
    } else {
      return false;
    }
    parameters_.at(weight)->CopyTo(there.data());
    if (there == wanted) return true;
    *reason_ = "the upsampling '" + graph_.tensors[weight].name +
               "' is not bilinear, channel i to channel i: the head runs op by op";
    return false;
  }

  const Graph& graph_;
  const std::map<TensorId, const Tensor*>& parameters_;
  std::vector<int> readers_;
  Head head_;
  std::string* reason_ = nullptr;
};

FuseHeadParams ParamsOf(const Graph& graph, const Head& head) {
  FuseHeadParams params;
  params.dst = graph.tensors[head.answer].desc.shape;
  params.levels = static_cast<int>(head.sides.size());
  for (int l = 0; l < params.levels; ++l) params.level[l] = head.sides[l].level;
  return params;
}

void Replace(Graph& graph, const Head& head) {
  const FuseHeadParams params = ParamsOf(graph, head);
  const std::string layer = head.nodes.back()->layer;
  const int64_t classes = params.dst.c;
  const TensorId weight =
      graph.AddTensor({"fusion weights", {{1, 1, classes, params.levels}}, TensorKind::kState});
  const TensorId bias =
      graph.AddTensor({"fusion biases", {{1, 1, 1, classes}}, TensorKind::kState});
  std::vector<TensorId> gathered = head.weights, inputs = {weight, bias};
  gathered.insert(gathered.end(), head.biases.begin(), head.biases.end());
  for (const Side& side : head.sides) {
    inputs.insert(inputs.end(), {side.score, kNoTensor, side.bias});
  }
  std::vector<Node> kept;
  for (Node& node : graph.nodes) {
    if (std::find(head.nodes.begin(), head.nodes.end(), &node) == head.nodes.end()) {
      kept.push_back(std::move(node));
    } else if (&node == head.nodes.back()) {
      Node fused;
      fused.layer = layer;
      fused.op = std::make_unique<FuseHeadOp>(params);
      fused.inputs = std::move(inputs);
      fused.outputs = {head.answer};
      fused.modes = {GradMode::kWrite};
      kept.push_back(std::move(fused));
    }
  }
  graph.nodes = std::move(kept);
  graph.AddNode(layer, std::make_unique<GatherFusionOp>(classes, params.levels),
                std::move(gathered), {weight, bias}, Stage::kPack);
}

}  // namespace

std::string FoldHead(Graph& graph, const std::map<TensorId, const Tensor*>& parameters) {
  std::string reason;
  for (const Node& node : graph.nodes) {
    if (!node.op->IsSigmoid()) continue;
    Matcher matcher(graph, parameters);
    if (const std::optional<Head> head = matcher.Match(node, &reason)) {
      Replace(graph, *head);
      return "";
    }
  }
  return reason;
}

}  // namespace lseg
