// The Net's life: build, transform, plan, allocate (constructor); then run lists of nodes.
#include "framework/net.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include "kernels/conv_dtypes.h"
#include "kernels/conv_libraries.h"
#include "kernels/runtime/host_memory.h"
#include "kernels/update.h"

namespace lseg {
namespace {

constexpr const char* kPrecisionNames[] = {"f32", "tf32", "bf16", "f16"};  // as in Precision

FormatPolicy PolicyOf(const Context& context, Precision precision) {
  LSEG_CHECK(precision != Precision::kTf32 || context.device() == Device::kCuda,
             "precision tf32 needs a GPU");
  const DType trunk = precision == Precision::kBF16  ? DType::kBF16
                      : precision == Precision::kF16 ? DType::kF16
                                                     : DType::kF32;
  const std::string missing = MissingForConvs(context, trunk);
  LSEG_CHECK(missing.empty(), "precision " << ToString(precision) << " needs " << missing);
  return {FormatOfConvs(context, trunk), trunk, &context};
}

// Of choices of an earlier run (PrepareContext::replaced).
std::string NoteOf(const std::vector<std::string>& replaced) {
  return "this device has not all engines that were chosen for the net's convolutions (" +
         replaced.front() +
         (replaced.size() > 1 ? ", and " + std::to_string(replaced.size() - 1) + " more" : "") +
         "), and others take their place: weights will differ in their last bits from an unbroken "
         "run's";
}

}  // namespace

std::string ToString(Precision precision) { return kPrecisionNames[static_cast<int>(precision)]; }

Precision ParsePrecision(const std::string& name) {
  const auto found = std::find(std::begin(kPrecisionNames), std::end(kPrecisionNames), name);
  LSEG_CHECK(found != std::end(kPrecisionNames),
             "precision '" << name << "' is not there: f32, tf32, bf16 and f16 are");
  return static_cast<Precision>(found - std::begin(kPrecisionNames));
}

Net::Net(const NetDefinition& definition, const LayerRegistry& registry, Context& context,
         std::shared_ptr<ParameterSet> parameters, const NetOptions& options)
    : context_(context), parameters_(std::move(parameters)), engines_(options.engines) {
  LSEG_CHECK(parameters_->device() == context.device(),
             "a net on " << ToString(context.device()) << " was given parameters on "
                         << ToString(parameters_->device()));
  const NetDefinition filtered = definition.Filtered(options.phase, options.level, options.stages);
  const int64_t limit = options.memory_limit;
  const size_t choices =
      options.solver != nullptr ? options.recompute.size() : options.chains.size();
  size_t least = 0;
  int64_t least_bytes = 0, bytes = 0;
  std::vector<std::string> notes;  // of the first: what it fills is there for the others
  for (size_t choice = 0; choice < choices; ++choice) {
    Compile(filtered, registry, options, choice);
    bytes = plan_.Total();
    if (choice == 0) notes = parts_.notes;
    if (choice == 0 || bytes < least_bytes) least = choice, least_bytes = bytes;
    if (limit == 0 || bytes <= limit) break;
  }
  // Where none fits, the one that needs the least is told.
  if (limit > 0 && bytes > limit && bytes > least_bytes) {
    Compile(filtered, registry, options, least);
  }
  parts_.notes = std::move(notes);
  if (options.planned) options.planned(plan_);
  CheckFits(options.memory_limit);
  AllocateKept();
  if (options.release_packed) {
    Pack();
    ReleaseParameters();
  }
  AllocateArena();
  for (NetSource& source : parts_.sources) {
    feeds_.push_back(
        {std::make_unique<Prefetcher>(source.source.get(), context.device()), source.tensors});
  }
}

// Graph and plan; nothing is allocated but parameters that are not there yet.
void Net::Compile(const NetDefinition& definition, const LayerRegistry& registry,
                  const NetOptions& options, size_t choice) {
  LSEG_CHECK(!parameters_->HasReleased(), "parameters of a net that has given some back");
  outputs_.clear();
  parts_ = BuildLayers(definition, registry, context_, options.seed, *parameters_, options.inputs);
  FindOutputs(definition);
  for (const std::string& blob : options.keep) parts_.graph.tensors[BlobTensor(blob)].keep = true;
  RunPasses(definition, options, choice);
  PrepareContext prepare{context_,
                         engines_,
                         options.measure_engines,
                         options.unproven_engines,
                         options.engine_cache,
                         options.precision == Precision::kTf32,
                         options.library};
  PrepareOps(parts_.graph, definition, prepare);
  if (!prepare.replaced.empty()) parts_.notes.push_back(NoteOf(prepare.replaced));
  PackWeights(parts_.graph, options.solver != nullptr, context_.device() == Device::kCuda);
  if (options.release_packed) released_ = UnreadByRuns(parts_.graph);
  plan_ = PlanMemory(parts_.graph, released_);
}

void Net::RunPasses(const NetDefinition& definition, const NetOptions& options, size_t choice) {
  LSEG_CHECK(options.library.empty() || IsLibraryConvEngine(options.library),
             "no library has a convolution engine '" << options.library
                                                     << "': cudnn and cublas are known");
  const FormatPolicy policy = PolicyOf(context_, options.precision);
  Graph& graph = parts_.graph;
  const auto runs = [&](const char* pass) { return options.without_passes.count(pass) == 0; };
  const bool training = options.solver != nullptr, own = options.library.empty();
  const bool formats = runs("assign_formats");
  if (!training && runs("fold_head")) FoldHeadOf(definition);
  if (runs("fuse_conv_relu")) FuseConvRelu(graph);
  if (runs("fold_copies")) FoldCopies(graph);
  if (own && runs("fuse_sides")) FuseSides(graph);
  if (runs("join_losses")) JoinLosses(graph);
  if (!training && own && formats && runs("fuse_stage_ends"))
    FuseStageEnds(graph, context_, policy);
  if (formats) AssignFormats(graph, policy);
  TakeOutStops(graph);
  if (!training && own && runs("chain_convs")) {
    ChainConvs(graph, context_, engines_, options.chains[choice]);
  }
  if (!training) return;
  if (options.scale_losses || options.precision == Precision::kF16) {
    graph.loss_scale = graph.AddTensor({"loss scale", {{1, 1, 1, 1}}, TensorKind::kState});
  }
  AddGradients(graph, parts_.losses, parts_.params, definition.net().force_backward());
  if (own && runs("fuse_relu_gradients")) FuseReluGradients(graph);
  const bool cuda = context_.device() == Device::kCuda;
  if (cuda && own && runs("fuse_stage_gradients")) FuseStageGradients(graph);
  if (runs("delay_gradients")) DelayGradients(graph);
  // A GPU has memory for it, and time is dearer there.
  if (!cuda && runs("recompute")) {
    Recompute(graph, options.recompute[choice]);
  }
  update_ = AddUpdate(graph, parts_.losses, parts_.params, *options.solver);
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

void Net::FoldHeadOf(const NetDefinition& definition) {
  std::map<TensorId, const Tensor*> values;
  for (const NetParam& param : parts_.params) values[param.tensor] = parameters_->Find(param.key);
  const std::string reason = FoldHead(parts_.graph, values);
  if (!reason.empty()) parts_.notes.push_back(definition.name() + ": " + reason);
}

void Net::CheckFits(int64_t memory_limit) const {
  if (memory_limit > 0 && plan_.Total() > memory_limit) {
    throw OutOfMemory("out of memory: the net needs " + Megabytes(plan_.Total()) +
                      " at the least, and " + Megabytes(memory_limit) + " may be used for it");
  }
  // A GPU's memory is not overcommitted, as a host's is. All parameters are there by now.
  if (context_.device() != Device::kCuda) return;
  const int64_t wanted = plan_.BesideParameters() - plan_.released;
  const GpuMemory memory = ReadGpuMemory();
  if (wanted <= memory.free) return;
  throw OutOfMemory("out of memory on the GPU: the net needs " + ToString(plan_) + ", " +
                    Megabytes(wanted) + " beside its parameters, and " + Megabytes(memory.free) +
                    " of " + Megabytes(memory.total) + " are free");
}

void Net::AllocateKept() {
  const Graph& graph = parts_.graph;
  memory_.assign(graph.tensors.size(), nullptr);
  std::map<TensorId, Tensor*> parameters;
  for (const NetParam& param : parts_.params) {
    parameters[param.tensor] = parameters_->Find(param.key);
  }
  for (size_t id = 0; id < graph.tensors.size(); ++id) {
    const GraphTensor& tensor = graph.tensors[id];
    switch (tensor.kind) {
      case TensorKind::kActivation:
        break;
      case TensorKind::kParam:
        memory_[id] = parameters.at(static_cast<TensorId>(id))->data();
        break;
      case TensorKind::kInput:
      case TensorKind::kParamGrad:
      case TensorKind::kState:
        owned_.emplace_back(context_.device(), tensor.desc);
        SetZero(context_.device(), owned_.back().data(), tensor.desc.Bytes());
        memory_[id] = owned_.back().data();
        break;
    }
  }
  step_ = HostBuffer(context_.device(), sizeof(StepState));
  if (ScalesLosses()) SetLossScale(1);
}

void Net::AllocateArena() {
  arena_ = Buffer(context_.device(), plan_.arena);
  workspace_ = Buffer(context_.device(), plan_.workspace);
  for (size_t id = 0; id < memory_.size(); ++id) {
    if (parts_.graph.tensors[id].kind == TensorKind::kActivation && plan_.offsets[id] >= 0) {
      memory_[id] = static_cast<char*>(arena_.data()) + plan_.offsets[id];
    }
  }
  const size_t losses = parts_.losses.size();
  host_scalars_.assign(losses + 1, 0);
  scalars_ = Buffer(context_.device(), (losses + 1) * sizeof(float));
  SetZero(context_.device(), scalars_.data(), scalars_.bytes());
  auto* scalars = static_cast<float*>(scalars_.data());
  for (size_t i = 0; i < losses; ++i) memory_[parts_.losses[i].tensor] = scalars + i;
  if (Learns()) memory_[update_.norm] = scalars + losses;
}

void Net::Pack() {
  Run(Stage::kPack);
  packs_stale_ = false;
}

void Net::ReleaseParameters() {
  context_.Synchronize();  // packing has read them
  for (const NetParam& param : parts_.params) {
    if (std::find(released_.begin(), released_.end(), param.tensor) == released_.end()) continue;
    parameters_->Release(param.key);
    memory_[param.tensor] = nullptr;
  }
  if (context_.device() == Device::kCpu) ReturnFreedMemory();
}

void Net::ParametersChanged() {
  LSEG_CHECK(released_.empty(), "parameters were changed that the net has given back");
  packs_stale_ = true;
}

TensorId Net::BlobTensor(const std::string& blob) const {
  const auto found = parts_.blobs.find(blob);
  LSEG_CHECK(found != parts_.blobs.end(), "the net has no blob '" << blob << "'");
  return found->second;
}

void* Net::Input(const std::string& blob) {
  const TensorId id = InputTensor(blob);
  LSEG_CHECK(id != kNoTensor, "blob '" << blob << "' is no input of the net");
  if (context_.device() == Device::kCpu) return memory_[id];
  const auto [place, added] =
      host_inputs_.try_emplace(id, context_.device(), parts_.graph.tensors[id].desc.Bytes());
  if (added) std::memset(place->second.data(), 0, place->second.bytes());
  return place->second.data();
}

std::vector<TensorId> Net::InputsOf(const std::vector<TensorDesc>& descs,
                                    const std::vector<std::string>& blobs) const {
  LSEG_CHECK(descs.size() == blobs.size(),
             "a source of " << descs.size() << " blobs is attached to " << blobs.size());
  std::vector<TensorId> tensors;
  for (size_t i = 0; i < blobs.size(); ++i) {
    tensors.push_back(InputTensor(blobs[i]));
    LSEG_CHECK(tensors.back() != kNoTensor, "blob '" << blobs[i] << "' is no input of the net");
    const GraphTensor& tensor = parts_.graph.tensors[tensors.back()];
    LSEG_CHECK(tensor.desc == descs[i],
               "input '" << blobs[i] << "' is " << ToString(tensor.desc.shape) << " "
                         << ToString(tensor.desc.dtype) << ", its source gives "
                         << ToString(descs[i].shape) << " " << ToString(descs[i].dtype));
  }
  return tensors;
}

void Net::AttachSource(DataSource* source, const std::vector<std::string>& blobs) {
  std::vector<TensorId> tensors = InputsOf(source->Blobs(), blobs);
  feeds_.push_back({std::make_unique<Prefetcher>(source, context_.device()), std::move(tensors)});
}

void Net::AttachSource(DeviceSource* source, const std::vector<std::string>& blobs) {
  device_feeds_.push_back({source, InputsOf(source->Blobs(), blobs)});
}

void Net::Fetch(int64_t iteration) {
  // The memory that Get lets the source fill anew may still be on its way to a GPU.
  if (!feeds_.empty()) context_.Synchronize();
  for (Feed& feed : feeds_) {
    const std::span<void* const> blobs = feed.prefetcher->Get(iteration);
    for (size_t i = 0; i < feed.tensors.size(); ++i) {
      const TensorId id = feed.tensors[i];
      if (context_.device() == Device::kCpu) {
        memory_[id] = blobs[i];
      } else {
        QueueCopyToDevice(context_, memory_[id], blobs[i], parts_.graph.tensors[id].desc.Bytes());
      }
    }
  }
  for (const DeviceFeed& feed : device_feeds_) {
    std::vector<void*> blobs;
    for (const TensorId id : feed.tensors) blobs.push_back(memory_[id]);
    feed.source->Queue(context_, iteration, blobs);
  }
  if (parts_.graph.batch != kNoTensor) {
    const auto number = static_cast<int32_t>(iteration);
    context_.Synchronize();  // the batch before may still read it
    CopyToDevice(context_.device(), memory_[parts_.graph.batch], &number, sizeof(number));
  }
}

double Net::WaitedSeconds() const {
  double seconds = 0;
  for (const Feed& feed : feeds_) seconds += feed.prefetcher->waited_seconds();
  for (const DeviceFeed& feed : device_feeds_) seconds += feed.source->waited_seconds();
  return seconds;
}

void Net::BringInputs() {
  for (const auto& [id, host] : host_inputs_) {
    QueueCopyToDevice(context_, memory_[id], host.data(), host.bytes());
  }
  if (!host_inputs_.empty()) inputs_brought_.Set(context_);
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
  context_.Synchronize();
  const std::chrono::duration<double> passed = std::chrono::steady_clock::now() - start;
  int64_t bytes = 0;
  for (const auto& ids : {node.inputs, node.outputs}) {
    for (TensorId id : ids) bytes += id == kNoTensor ? 0 : parts_.graph.tensors[id].desc.Bytes();
  }
  times_->push_back({node.layer, node.op->Name(), passed.count(), bytes});
}

void Net::Run(Stage stage, bool accumulate) {
  const auto queue = [&] {
    for (const Node& node : parts_.graph.nodes) {
      if (node.stage == stage) RunNode(node, accumulate);
    }
  };
  const std::pair<Stage, bool> key{stage, accumulate};
  const bool record = context_.device() == Device::kCuda && times_ == nullptr;
  if (!record || has_run_.insert(key).second) return queue();
  auto recording = recordings_.find(key);
  if (recording == recordings_.end()) {
    recording = recordings_.try_emplace(key, context_, queue).first;
  }
  recording->second.Replay(context_);
}

void Net::Forward() {
  if (packs_stale_) Pack();
  BringInputs();
  Run(Stage::kForward);
  scalars_stale_ = true;
  inputs_brought_.Wait();  // after Run, so that the GPU has work by then
}

void Net::Backward(bool accumulate) { Run(Stage::kBackward, accumulate); }

void Net::SetLossScale(float scale) {
  LSEG_CHECK(ScalesLosses(), "this net was made without a scale of its losses");
  loss_scale_ = scale;
  CopyToDevice(context_.device(), memory_[parts_.graph.loss_scale], &loss_scale_,
               sizeof(loss_scale_));
}

void Net::Update(float learning_rate, int64_t iteration) {
  LSEG_CHECK(Learns(), "nothing learns in this net");
  const StepState step{learning_rate, static_cast<int32_t>(iteration)};
  step_brought_.Wait();  // the last one: who reads no loss has not waited for it
  std::memcpy(step_.data(), &step, sizeof(step));
  QueueCopyToDevice(context_, memory_[update_.step], step_.data(), sizeof(step));
  step_brought_.Set(context_);
  Run(Stage::kUpdate);
  scalars_stale_ = true;
}

}  // namespace lseg
