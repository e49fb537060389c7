#include "framework/graph.h"

#include <algorithm>

namespace lseg {

void Op::ChooseFormats(const FormatPolicy&, std::span<TensorDesc> in,
                       std::span<TensorDesc> out) const {
  const auto plain = [](TensorDesc& desc) {
    desc.format = Format::kNCHW;
    if (desc.dtype == DType::kBF16 || desc.dtype == DType::kF16) desc.dtype = DType::kF32;
  };
  for (TensorDesc& desc : in) plain(desc);
  for (TensorDesc& desc : out) plain(desc);
}

void Op::AddGradient(GradientBuilder& builder) const {
  for (int i = 0; i < builder.inputs(); ++i) {
    LSEG_CHECK(!builder.Wanted(i), Name() << " has no gradient, but one is wanted through it");
  }
}

TensorId Graph::AddTensor(GraphTensor tensor) {
  tensors.push_back(std::move(tensor));
  return static_cast<TensorId>(tensors.size()) - 1;
}

Node& Graph::AddNode(std::string layer, std::unique_ptr<Op> op, std::vector<TensorId> inputs,
                     std::vector<TensorId> outputs, Stage stage) {
  Node node{std::move(layer), std::move(op), std::move(inputs), std::move(outputs), {}, stage};
  node.modes.assign(node.outputs.size(), GradMode::kWrite);
  nodes.push_back(std::move(node));
  return nodes.back();
}

const Node* Graph::Writer(TensorId id) const {
  for (const Node& node : nodes) {
    for (TensorId output : node.outputs) {
      if (output == id) return &node;
    }
  }
  return nullptr;
}

std::vector<size_t> Graph::Readers(TensorId id) const {
  std::vector<size_t> readers;
  for (size_t i = 0; i < nodes.size(); ++i) {
    readers.insert(readers.end(), std::count(nodes[i].inputs.begin(), nodes[i].inputs.end(), id),
                   i);
  }
  return readers;
}

std::vector<TensorDesc> Graph::Descs(const std::vector<TensorId>& ids) const {
  std::vector<TensorDesc> descs;
  for (TensorId id : ids) descs.push_back(id == kNoTensor ? TensorDesc{} : tensors[id].desc);
  return descs;
}

TensorId GradientBuilder::OutputGradient(int i) const {
  const auto found = graph_.gradient_of.find(output(i));
  return found == graph_.gradient_of.end() ? kNoTensor : found->second;
}

bool GradientBuilder::Wanted(int i) const {
  return wanted_[input(i)] && !graph_.nodes[node_].Stops(i);
}

TensorId GradientBuilder::AddTemporary(TensorId like) {
  const GraphTensor& original = graph_.tensors[like];
  return graph_.AddTensor({"gradient before " + original.name, original.desc});
}

TensorId GradientBuilder::AddPlainTemporary(TensorId like) {
  const TensorId plain = AddTemporary(like);
  graph_.tensors[plain].desc = {graph_.tensors[like].desc.shape};
  return plain;
}

void GradientBuilder::AddNode(std::unique_ptr<Op> op, std::vector<TensorId> inputs,
                              std::vector<TensorId> outputs) {
  graph_.AddNode(graph_.nodes[node_].layer, std::move(op), std::move(inputs), std::move(outputs),
                 Stage::kBackward);
}

void GradientBuilder::AddGradientNode(std::unique_ptr<Op> op, std::vector<TensorId> inputs,
                                      const std::vector<int>& gradients_of) {
  std::vector<TensorId> outputs;
  std::vector<GradMode> modes;
  for (int i : gradients_of) {
    const TensorId primal = input(i);
    if (!Wanted(i)) {
      outputs.push_back(kNoTensor);
      modes.push_back(GradMode::kSkip);
      continue;
    }
    const auto found = graph_.gradient_of.find(primal);
    if (found != graph_.gradient_of.end()) {
      outputs.push_back(found->second);
      modes.push_back(GradMode::kAdd);
      continue;
    }
    const GraphTensor& tensor = graph_.tensors[primal];
    const TensorId gradient = graph_.AddTensor(
        {"gradient of " + tensor.name, tensor.desc,
         tensor.kind == TensorKind::kParam ? TensorKind::kParamGrad : TensorKind::kActivation,
         tensor.kind == TensorKind::kInput});
    graph_.gradient_of[primal] = gradient;
    outputs.push_back(gradient);
    modes.push_back(GradMode::kWrite);
  }
  Node& node = graph_.AddNode(graph_.nodes[node_].layer, std::move(op), std::move(inputs),
                              std::move(outputs), Stage::kBackward);
  node.modes = std::move(modes);
}

}  // namespace lseg
