// The Net's life: build, transform, plan, allocate (constructor); then run lists of nodes.
#include "framework/net.h"

#include <chrono>
#include <cmath>
#include <cstring>

#include "kernels/reorder.h"
#include "kernels/update.h"

namespace lseg {

Net::Net(const NetDefinition& definition, const LayerRegistry& registry, Context& context,
         std::shared_ptr<ParameterSet> parameters, const NetOptions& options)
    : context_(context), parameters_(std::move(parameters)), engines_(options.engines) {
  const NetDefinition filtered = definition.Filtered(options.phase, options.level, options.stages);
  parts_ = BuildLayers(filtered, registry, context, options.seed, *parameters_, options.inputs);
  FindOutputs(filtered);
  for (const std::string& blob : options.keep) parts_.graph.tensors[BlobTensor(blob)].keep = true;
  Graph& graph = parts_.graph;
  const bool training = options.solver != nullptr;
  if (options.without_passes.count("fuse_conv_relu") == 0) FuseConvRelu(graph);
  if (options.without_passes.count("assign_formats") == 0) AssignFormats(graph, context);
  if (training) {
    AddGradients(graph, parts_.losses, parts_.params, filtered.net().force_backward());
    update_ = AddUpdate(graph, parts_.params, *options.solver);
  }
  PrepareContext prepare{context, engines_, options.measure_engines};
  PrepareOps(graph, prepare);
  PackWeights(graph, training);
  plan_ = PlanMemory(graph);
  Allocate();
  for (NetSource& source : parts_.sources) {
    feeds_.push_back({std::make_unique<Prefetcher>(source.source.get()), source.tensors});
  }
}

Net::~Net() {
  feeds_.clear();  // their threads use the sources
}

void Net::FindOutputs(const NetDefinition& definition) {
  std::map<std::string, bool> read;  // top -> whether a later layer takes it
  std::vector<std::string> order;
  for (const caffe::LayerParameter& layer : definition.net().layer()) {
    for (const std::string& bottom : layer.bottom()) read[bottom] = true;
    for (const std::string& top : layer.top()) {
      if (read.count(top) == 0) order.push_back(top);
      read[top] = false;
    }
  }
  for (const std::string& top : order) {
    if (read[top]) continue;
    outputs_.push_back(top);
    parts_.graph.tensors[BlobTensor(top)].keep = true;
  }
}

void Net::Allocate() {
  const Graph& graph = parts_.graph;
  arena_ = Buffer(context_.device(), plan_.arena);
  workspace_ = Buffer(context_.device(), plan_.workspace);
  memory_.assign(graph.tensors.size(), nullptr);
  std::map<TensorId, Tensor*> parameters;
  for (const NetParam& param : parts_.params) {
    parameters[param.tensor] = parameters_->Find(param.key);
  }
  for (size_t id = 0; id < graph.tensors.size(); ++id) {
    const GraphTensor& tensor = graph.tensors[id];
    switch (tensor.kind) {
      case TensorKind::kActivation:
        if (plan_.offsets[id] >= 0) {
          memory_[id] = static_cast<char*>(arena_.data()) + plan_.offsets[id];
        }
        break;
      case TensorKind::kParam:
        memory_[id] = parameters.at(static_cast<TensorId>(id))->data();
        break;
      case TensorKind::kInput:
      case TensorKind::kParamGrad:
      case TensorKind::kState:
        owned_.emplace_back(context_.device(), tensor.desc);
        std::memset(owned_.back().data(), 0, tensor.desc.Bytes());
        memory_[id] = owned_.back().data();
        break;
    }
  }
}

TensorId Net::BlobTensor(const std::string& blob) const {
  const auto found = parts_.blobs.find(blob);
  LSEG_CHECK(found != parts_.blobs.end(), "the net has no blob '" << blob << "'");
  return found->second;
}

bool Net::HasInput(const std::string& blob) const {
  const auto found = parts_.blobs.find(blob);
  return found != parts_.blobs.end() &&
         parts_.graph.tensors[found->second].kind == TensorKind::kInput;
}

void* Net::Input(const std::string& blob) {
  const TensorId id = BlobTensor(blob);
  LSEG_CHECK(parts_.graph.tensors[id].kind == TensorKind::kInput,
             "blob '" << blob << "' is no input of the net");
  return memory_[id];
}

void Net::AttachSource(DataSource* source, const std::vector<std::string>& blobs) {
  const std::vector<TensorDesc> descs = source->Blobs();
  LSEG_CHECK(descs.size() == blobs.size(),
             "a source of " << descs.size() << " blobs is attached to " << blobs.size());
  std::vector<TensorId> tensors;
  for (size_t i = 0; i < blobs.size(); ++i) {
    tensors.push_back(BlobTensor(blobs[i]));
    const GraphTensor& tensor = parts_.graph.tensors[tensors.back()];
    LSEG_CHECK(tensor.kind == TensorKind::kInput && tensor.desc == descs[i],
               "input '" << blobs[i] << "' is " << ToString(tensor.desc.shape) << " "
                         << ToString(tensor.desc.dtype) << ", its source gives "
                         << ToString(descs[i].shape) << " " << ToString(descs[i].dtype));
  }
  feeds_.push_back({std::make_unique<Prefetcher>(source), std::move(tensors)});
}

void Net::Fetch(int64_t iteration) {
  for (Feed& feed : feeds_) {
    const std::span<void* const> blobs = feed.prefetcher->Get(iteration);
    for (size_t i = 0; i < feed.tensors.size(); ++i) memory_[feed.tensors[i]] = blobs[i];
  }
}

void Net::RunNode(const Node& node, bool accumulate) {
  std::vector<void*> in, out;
  std::vector<GradMode> modes = node.modes;
  for (TensorId id : node.inputs) in.push_back(id == kNoTensor ? nullptr : memory_[id]);
  for (size_t i = 0; i < node.outputs.size(); ++i) {
    const TensorId id = node.outputs[i];
    out.push_back(id == kNoTensor ? nullptr : memory_[id]);
    if (accumulate && id != kNoTensor && parts_.graph.tensors[id].kind == TensorKind::kParamGrad) {
      modes[i] = GradMode::kAdd;
    }
  }
  const auto start = std::chrono::steady_clock::now();
  node.op->Run(context_, {in, out, modes, workspace_.data()});
  if (times_ == nullptr) return;
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  times_->push_back({node.layer, node.op->Name(), passed.count()});
}

void Net::Run(Stage stage, bool accumulate) {
  for (const Node& node : parts_.graph.nodes) {
    if (node.stage == stage) RunNode(node, accumulate);
  }
}

void Net::Forward() {
  if (packs_stale_) {
    Run(Stage::kPack);
    packs_stale_ = false;
  }
  Run(Stage::kForward);
}

void Net::Backward(bool accumulate) { Run(Stage::kBackward, accumulate); }

float Net::Update(float learning_rate, int64_t iteration) {
  LSEG_CHECK(Learns(), "nothing learns in this net");
  const StepState step{learning_rate, static_cast<int32_t>(iteration)};
  std::memcpy(memory_[update_.step], &step, sizeof(step));
  Run(Stage::kUpdate);
  return *static_cast<const float*>(memory_[update_.norm]);
}

float Net::LossValue(int i) const {
  return *static_cast<const float*>(memory_[parts_.losses[i].tensor]);
}

double Net::Loss() const {
  double sum = 0;
  for (size_t i = 0; i < parts_.losses.size(); ++i) {
    sum += double{parts_.losses[i].weight} * LossValue(static_cast<int>(i));
  }
  return sum;
}

std::vector<float> Net::ReadTensor(TensorId id) const {
  const TensorDesc& desc = parts_.graph.tensors[id].desc;
  std::vector<float> values(desc.shape.Count());
  if (desc.dtype == DType::kU8) {
    CastToF32(context_, desc.shape.Count(), static_cast<const uint8_t*>(memory_[id]),
              values.data());
  } else {
    LSEG_CHECK(desc.dtype == DType::kF32,
               "a tensor of " << ToString(desc.dtype) << " cannot be read as floats");
    Reorder(context_, desc.shape, desc.format, static_cast<const float*>(memory_[id]),
            Format::kNCHW, values.data(), GradMode::kWrite);
  }
  return values;
}

std::vector<float> Net::Read(const std::string& blob) const {
  const TensorId id = BlobTensor(blob);
  const GraphTensor& tensor = parts_.graph.tensors[id];
  LSEG_CHECK(tensor.keep || tensor.kind != TensorKind::kActivation,
             "blob '" << blob << "' is no output: name it in NetOptions.keep to read it");
  return ReadTensor(id);
}

const float* Net::Output(const std::string& blob) const {
  const TensorId id = BlobTensor(blob);
  const GraphTensor& tensor = parts_.graph.tensors[id];
  LSEG_CHECK(tensor.keep && tensor.desc.dtype == DType::kF32 && tensor.desc.format == Format::kNCHW,
             "blob '" << blob << "' is no dense f32 output of the net");
  return static_cast<const float*>(memory_[id]);
}

const TensorDesc& Net::Desc(const std::string& blob) const {
  return parts_.graph.tensors[BlobTensor(blob)].desc;
}

std::vector<float> Net::Gradient(const std::string& key) const {
  TensorId primal = kNoTensor;
  for (const NetParam& param : parts_.params) {
    if (param.key == key) primal = param.tensor;
  }
  if (primal == kNoTensor) primal = BlobTensor(key);
  const auto found = parts_.graph.gradient_of.find(primal);
  LSEG_CHECK(found != parts_.graph.gradient_of.end(), "'" << key << "' has no gradient");
  const GraphTensor& gradient = parts_.graph.tensors[found->second];
  LSEG_CHECK(gradient.keep || gradient.kind == TensorKind::kParamGrad,
             "the gradient of '" << key << "' is not kept");
  return ReadTensor(found->second);
}

std::map<std::string, std::span<float>> Net::SolverState() {
  std::map<std::string, std::span<float>> state;
  for (const auto& [name, id] : update_.state) {
    state[name] = {static_cast<float*>(memory_[id]),
                   static_cast<size_t>(parts_.graph.tensors[id].desc.shape.Count())};
  }
  return state;
}

std::string Net::FindNonFinite() {
  for (const Stage stage : {Stage::kForward, Stage::kBackward}) {
    for (const Node& node : parts_.graph.nodes) {
      if (node.stage != stage) continue;
      RunNode(node, false);
      for (TensorId id : node.outputs) {
        if (id == kNoTensor) continue;
        const TensorDesc& desc = parts_.graph.tensors[id].desc;
        if (desc.dtype != DType::kF32 || desc.format == Format::kOpaque) continue;
        const float* values = static_cast<const float*>(memory_[id]);
        const int64_t count = StorageCount(desc.shape, desc.format);
        for (int64_t i = 0; i < count; ++i) {
          if (!std::isfinite(values[i])) {
            return "layer '" + node.layer + "' (" + node.op->Name() + ")";
          }
        }
      }
    }
  }
  return "";
}

}  // namespace lseg
