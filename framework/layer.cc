#include "framework/layer.h"

#include "framework/layers/layers.h"
#include "kernels/elementwise.h"

namespace lseg {

void LayerRegistry::Add(LayerType type) {
  const std::string name = type.name;
  LSEG_CHECK(types_.emplace(name, std::move(type)).second,
             "layer type '" << name << "' is registered twice");
}

const LayerType* LayerRegistry::Find(const std::string& name) const {
  const auto found = types_.find(name);
  return found == types_.end() ? nullptr : &found->second;
}

std::string LayerRegistry::Names() const {
  std::string names;
  for (const auto& [name, type] : types_) names += (names.empty() ? "" : ", ") + name;
  return names;
}

LayerRegistry BuiltinLayers() {
  constexpr int kMany = 1000;
  LayerRegistry registry;
  // type, build function, bottoms from..to, tops from..to
  registry.Add({"Concat", BuildConcat, 1, kMany, 1, 1});
  registry.Add({"Convolution", BuildConvolution, 1, 1, 1, 1});
  registry.Add({"Crop", BuildCrop, 2, 2, 1, 1});
  registry.Add({"Deconvolution", BuildDeconvolution, 1, 1, 1, 1});
  registry.Add({"Dropout", BuildDropout, 1, 1, 1, 1});
  registry.Add({"Eltwise", BuildEltwise, 2, kMostSumTerms, 1, 1});
  registry.Add({"Input", BuildInput, 0, 0, 1, kMany});
  registry.Add({"MultiChannelBinSigmoidCrossEntropyLoss", BuildMultiChannelBinLoss, 2, 2, 1, 1});
  registry.Add({"Pooling", BuildPooling, 1, 1, 1, 1});
  registry.Add({"ReLU", BuildRelu, 1, 1, 1, 1});
  registry.Add({"Sigmoid", BuildSigmoid, 1, 1, 1, 1});
  registry.Add({"SigmoidCrossEntropyLoss", BuildSigmoidLoss, 2, 2, 1, 1});
  registry.Add({"Slice", BuildSlice, 1, 1, 1, kMany});
  registry.Add({"Softmax", BuildSoftmax, 1, 1, 1, 1});
  registry.Add({"SoftmaxWithLoss", BuildSoftmaxLoss, 2, 2, 1, 1});
  return registry;
}

namespace {

class StopGradientOp : public Op {
 public:
  std::string Name() const override { return "stop_gradient"; }
  void ChooseFormats(const FormatPolicy&, std::span<TensorDesc> in,
                     std::span<TensorDesc> out) const override {
    out[0] = in[0];
  }
  bool StopsGradient() const override { return true; }
  std::optional<AxisMap> Map(bool) const override { return AxisMap{}; }
  void Run(Context&, const OpArgs&) const override { LSEG_FAIL("a mark was left in the graph"); }
};

// FNV-1a, 64 bits.
uint64_t HashOf(const std::string& text) {
  uint64_t hash = 14695981039346656037u;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211u;
  return hash;
}

}  // namespace

LayerBuilder::LayerBuilder(const NetDefinition& definition, int layer, Context& context,
                           uint64_t seed, ParameterSet& parameters,
                           const std::map<std::string, TensorDesc>& inputs, NetParts& parts)
    : definition_(definition),
      layer_(layer),
      param_(definition.layer(layer)),
      context_(context),
      seed_(seed),
      parameters_(parameters),
      inputs_(inputs),
      parts_(parts) {}

bool LayerBuilder::training_phase() const { return param_.phase() == caffe::TRAIN; }

TensorId LayerBuilder::Bottom(int i) const {
  if (const auto stopped = stopped_.find(i); stopped != stopped_.end()) return stopped->second;
  const auto found = parts_.blobs.find(param_.bottom(i));
  if (found == parts_.blobs.end()) {
    throw Error(definition_.Where(layer_, "bottom", i) + ": bottom '" + param_.bottom(i) +
                "' is the top of no layer before it");
  }
  return found->second;
}

void LayerBuilder::StopGradients() {
  const int given = param_.propagate_down_size();
  if (given != 0 && given != bottoms()) {
    Fail("propagate_down is given " + std::to_string(given) + " times for " +
             std::to_string(bottoms()) + " bottom(s): give it once for each, or not at all",
         "propagate_down");
  }
  for (int i = 0; i < given && training_phase(); ++i) {
    const TensorId bottom = Bottom(i);
    const GraphTensor& tensor = parts_.graph.tensors[bottom];
    if (param_.propagate_down(i) || !IsFloat(tensor.desc.dtype)) continue;
    stopped_[i] = AddTemporary(tensor.name, tensor.desc.shape);
    AddNode(std::make_unique<StopGradientOp>(), {bottom}, {stopped_[i]});
  }
}

const TensorDesc& LayerBuilder::BottomDesc(int i) const {
  return parts_.graph.tensors[Bottom(i)].desc;
}

void LayerBuilder::CheckCount(const std::string& what, const Shape& shape) const {
  constexpr double kMost = 0x1p48;  // in double, as the product may not fit
  const double count = double(shape.n) * double(shape.c) * double(shape.h) * double(shape.w);
  if (count < kMost) return;
  Fail(what + " would be " + ToString(shape) + ": tensors have fewer than 2^48 elements");
}

TensorId LayerBuilder::AddTop(int i, const Shape& shape, DType dtype, TensorKind kind) {
  CheckCount("top '" + param_.top(i) + "'", shape);
  const TensorId id = parts_.graph.AddTensor({param_.top(i), {shape, dtype}, kind});
  AliasTop(i, id);
  return id;
}

void LayerBuilder::AliasTop(int i, TensorId tensor) {
  const std::string& name = param_.top(i);
  bool in_place = false;
  for (const std::string& bottom : param_.bottom()) in_place = in_place || bottom == name;
  if (!in_place && parts_.blobs.count(name) > 0) {
    throw Error(definition_.Where(layer_, "top", i) + ": top '" + name +
                "' is the top of an earlier layer already");
  }
  parts_.blobs[name] = tensor;
}

TensorId LayerBuilder::BatchNumber() {
  TensorId& batch = parts_.graph.batch;
  if (batch == kNoTensor) {
    batch = parts_.graph.AddTensor({"batch", {{1, 1, 1, 1}, DType::kI32}, TensorKind::kState});
  }
  return batch;
}

TensorId LayerBuilder::AddTemporary(const std::string& name, const Shape& shape, DType dtype) {
  const std::string owner = param_.name().empty() ? param_.top(0) : param_.name();
  return parts_.graph.AddTensor({owner + " " + name, {shape, dtype}});
}

void LayerBuilder::FillParam(const std::string& key,
                             const std::function<void(float*, Random&)>& filler,
                             Tensor& tensor) const {
  // The stream of a tensor's random numbers is its key, so that a layer more elsewhere in the net
  // changes nothing here.
  Random random(seed_, HashOf(key));
  try {
    std::vector<float> values(tensor.desc().shape.Count());
    filler(values.data(), random);
    tensor.CopyFrom(values.data());
  } catch (const Error& error) {
    Fail(error.what());
  }
}

TensorId LayerBuilder::AddParam(int index, const std::string& suffix, const Shape& shape,
                                const std::function<void(float*, Random&)>& filler) {
  if (param_.name().empty()) Fail("a layer with weights needs a name");
  const std::string key = param_.name() + "." + suffix;
  for (const NetParam& other : parts_.params) {
    if (other.key == key) Fail("another layer with weights has this name already");
  }
  if (index < param_.param_size() && !param_.param(index).name().empty()) {
    Fail("sharing weights by param name '" + param_.param(index).name() + "' is not supported",
         "param");
  }
  CheckCount("'" + key + "'", shape);
  const Tensor* known = parameters_.Find(key);
  if (known != nullptr && !(known->desc().shape == shape)) {
    Fail("'" + key + "' is " + ToString(shape) + " here and " + ToString(known->desc().shape) +
         " in the weights it shares");
  }
  if (known == nullptr) {
    Tensor& added = parameters_.Add(key, shape);
    if (!parameters_.Awaits(key)) FillParam(key, filler, added);
  }
  const TensorId id = parts_.graph.AddTensor({key, {shape}, TensorKind::kParam});
  const float decay = index < param_.param_size() ? param_.param(index).decay_mult() : 1;
  parts_.params.push_back({key, id, LrMult(index), decay});
  return id;
}

uint64_t LayerBuilder::LayerSeed() const {
  return seed_ ^ HashOf(param_.name().empty() ? param_.top(0) : param_.name());
}

float LayerBuilder::LrMult(int index) const {
  return index < param_.param_size() ? param_.param(index).lr_mult() : 1;
}

void LayerBuilder::AddNode(std::unique_ptr<Op> op, std::vector<TensorId> inputs,
                           std::vector<TensorId> outputs) {
  const std::string owner = param_.name().empty() ? param_.top(0) : param_.name();
  parts_.graph.AddNode(owner, std::move(op), std::move(inputs), std::move(outputs));
}

float LayerBuilder::AddLoss(TensorId top) {
  const float weight = param_.loss_weight_size() > 0 ? param_.loss_weight(0) : 1;
  parts_.graph.tensors[top].keep = true;
  parts_.losses.push_back({parts_.graph.tensors[top].name, top, weight});
  return weight;
}

void LayerBuilder::AddSource(std::unique_ptr<DataSource> source, std::vector<TensorId> tensors) {
  parts_.sources.push_back({std::move(source), std::move(tensors)});
}

void LayerBuilder::Note(const std::string& text) {
  parts_.notes.push_back(definition_.Where(layer_) + ": " + text);
}

TensorDesc LayerBuilder::InputDesc(int top, const Shape& shape) const {
  const auto found = inputs_.find(param_.top(top));
  return found == inputs_.end() ? TensorDesc{shape} : found->second;
}

AxisMap LayerBuilder::MapBetween(TensorId from, TensorId to, bool vertical) const {
  // Each tensor's ancestors along first inputs, with the map from the tensor's coordinates to
  // theirs.
  auto ancestors = [&](TensorId id) {
    std::vector<std::pair<TensorId, AxisMap>> chain = {{id, {}}};
    while (const Node* writer = parts_.graph.Writer(chain.back().first)) {
      const std::optional<AxisMap> step = writer->op->Map(vertical);
      if (!step || writer->inputs.empty()) break;
      const AxisMap so_far = chain.back().second;
      chain.push_back({writer->inputs[0],
                       {step->scale * so_far.scale, step->scale * so_far.shift + step->shift}});
    }
    return chain;
  };
  const auto from_chain = ancestors(from), to_chain = ancestors(to);
  for (const auto& [id, a] : from_chain) {
    for (const auto& [other, b] : to_chain) {
      if (id == other) return {a.scale / b.scale, (a.shift - b.shift) / b.scale};
    }
  }
  Fail("'" + parts_.graph.tensors[from].name + "' and '" + parts_.graph.tensors[to].name +
       "' have no common ancestor through convolutions, poolings and deconvolutions: give an "
       "explicit offset");
}

void LayerBuilder::Fail(const std::string& message, const std::string& field) const {
  throw Error((field.empty() ? definition_.Where(layer_) : definition_.Where(layer_, field)) +
              ": " + message);
}

namespace {

void CheckCounts(const LayerBuilder& builder, const LayerType& type) {
  auto check = [&](const char* what, int count, int min, int max) {
    if (count >= min && count <= max) return;
    std::ostringstream wanted;
    wanted << "takes " << min;
    if (max > min) wanted << (max >= 1000 ? " or more" : " to " + std::to_string(max));
    builder.Fail(wanted.str() + " " + what + (max == 1 ? "" : "s") + ", has " +
                 std::to_string(count));
  };
  check("bottom", builder.bottoms(), type.min_bottoms, type.max_bottoms);
  check("top", builder.tops(), type.min_tops, type.max_tops);
}

}  // namespace

NetParts BuildLayers(const NetDefinition& definition, const LayerRegistry& registry,
                     Context& context, uint64_t seed, ParameterSet& parameters,
                     const std::map<std::string, TensorDesc>& inputs) {
  NetParts parts;
  parts.notes = definition.notes();
  for (int i = 0; i < definition.layer_count(); ++i) {
    LayerBuilder builder(definition, i, context, seed, parameters, inputs, parts);
    const LayerType* type = registry.Find(builder.param().type());
    if (type == nullptr) {
      builder.Fail(
          "unknown layer type '" + builder.param().type() + "'; known are " + registry.Names(),
          "type");
    }
    CheckCounts(builder, *type);
    const size_t losses = parts.losses.size(), params = parts.params.size();
    builder.StopGradients();
    LayerParts layer;
    for (int b = 0; b < builder.bottoms(); ++b) layer.bottoms.push_back(builder.Bottom(b));
    type->build(builder);
    for (const std::string& top : builder.param().top()) layer.tops.push_back(parts.blobs.at(top));
    for (size_t p = params; p < parts.params.size(); ++p) {
      layer.params.push_back(parts.params[p].tensor);
    }
    parts.layers.push_back(std::move(layer));
    if (builder.param().loss_weight_size() > 0 && parts.losses.size() == losses) {
      builder.Fail("loss_weight on a layer that is no loss", "loss_weight");
    }
  }
  return parts;
}

}  // namespace lseg
