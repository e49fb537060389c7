#include "lseg/trainer.h"

#include <algorithm>
#include <filesystem>

#include "framework/caffemodel.h"
#include "framework/file.h"
#include "framework/net_table.h"
#include "framework/text.h"
#include "kernels/runtime/host_memory.h"
#include "lseg/checkpoint.h"
#include "lseg/field_of_view.h"
#include "lseg/image_labelmap_source.h"
#include "lseg/layers.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

// Of the fundus photographs of that size among images spread over a list, in pixels; 0 where most
// of them are none.
float MedianViewRadius(const std::string& list, int width, int height, int64_t max_pixels) {
  constexpr size_t kLooked = 15;
  const std::vector<ListEntry> entries = ReadList(list);
  const size_t looked = std::min(kLooked, entries.size());
  std::vector<double> radii;
  for (size_t i = 0; i < looked; ++i) {
    const Image photo = ReadPhoto(entries[i * entries.size() / looked].image, max_pixels);
    if (photo.width != width || photo.height != height) continue;
    const FieldOfView view = FindFieldOfView(photo);
    if (view.circle_found && view.IsFundus()) radii.push_back(view.radius);
  }
  if (2 * radii.size() <= looked) return 0;
  std::nth_element(radii.begin(), radii.begin() + radii.size() / 2, radii.end());
  return static_cast<float>(radii[radii.size() / 2]);
}

// The batch of a net whose inputs are fed from here: blobs `data` and `label`, and no other.
int64_t BatchOfInputs(const NetDefinition& net) {
  int64_t batch = 0;
  bool label = false;
  for (int i = 0; i < net.layer_count(); ++i) {
    if (net.layer(i).type() != "Input") continue;
    for (const std::string& top : net.layer(i).top()) {
      LSEG_CHECK(
          top == "data" || top == "label",
          net.Where(i) << ": training feeds the inputs 'data' and 'label', not '" << top << "'");
      label = label || top == "label";
      if (top == "data" && net.layer(i).input_param().shape_size() > 0) {
        const caffe::BlobShape& shape = net.layer(i).input_param().shape(0);
        batch = shape.dim_size() == 4 ? shape.dim(0) : 0;
      }
    }
  }
  LSEG_CHECK(batch > 0 && label, net.name() << ": training feeds two inputs, 'data' (N,3,H,W) and "
                                               "'label', and the net lacks one of them");
  return batch;
}

// Only the bin loss knows of classes that an image is not annotated for; another would learn 255.
void CheckTakesLeftOut(const NetDefinition& net) {
  for (int i = 0; i < net.layer_count(); ++i) {
    const auto& bottoms = net.layer(i).bottom();
    LSEG_CHECK(std::find(bottoms.begin(), bottoms.end(), "label") == bottoms.end() ||
                   net.layer(i).type() == "MultiChannelBinSigmoidCrossEntropyLoss",
               net.Where(i) << ": the list has images that are not annotated for a lesion (-), "
                               "which only MultiChannelBinSigmoidCrossEntropyLoss can leave out, "
                               "not "
                            << net.layer(i).type());
  }
}

}  // namespace

Trainer::Room Trainer::RoomOf(const TrainOptions& options) {
  const int64_t program = ResidentMemory();
  const int64_t given = options.memory_limit;
  return {program, given > 0 ? given : program + AvailableMemory()};
}

std::unique_ptr<Trainer> Trainer::Start(const TrainOptions& options, const std::string& folder,
                                        SayLine say) {
  for (const char* name : {kCheckpoint, "final.safetensors"}) {
    LSEG_CHECK(!fs::exists(fs::path(folder) / name),
               folder << " holds a training already (" << name
                      << "): continue it with --resume, or choose another --out");
  }
  const Room room = RoomOf(options);
  std::vector<std::string> notes;
  const TrainPlan plan = MakePlan(options, &notes);
  for (const std::string& note : notes) say(note);
  std::error_code error;
  fs::create_directories(folder, error);
  LSEG_CHECK(!error, folder << ": cannot be made: " << error.message());
  std::unique_ptr<Trainer> trainer(new Trainer(plan, room, folder, std::move(say), nullptr));
  trainer->Begin(nullptr);
  return trainer;
}

void Trainer::DryRun(const TrainOptions& options, const std::string& dot, SayLine say) {
  std::vector<std::string> notes;
  const TrainPlan plan = MakePlan(options, &notes);
  for (const std::string& note : notes) say(note);
  Trainer trainer(plan, RoomOf(options), "", say, nullptr);
  if (!plan.weights.empty()) trainer.LoadWeights();
  trainer.PrepareValidation();
  const NetDefinition net = plan.Net().Filtered(trainer.solver_definition_.TrainState());
  const std::vector<LayerRow> rows = DescribeLayers(
      net, BuildLayers(net, trainer.Layers(), trainer.context_, static_cast<uint64_t>(plan.seed),
                       *trainer.parameters_, trainer.Inputs()));
  for (const std::string& line : LayerTable(rows)) say(line);
  if (dot.empty()) return;
  WriteFile(dot, ToDot(rows, plan.net_name));
  say(dot + ": the net as a graph, for Graphviz (dot -Tsvg " + dot + " -o net.svg)");
}

std::unique_ptr<Trainer> Trainer::Resume(const TrainOptions& options, const std::string& folder,
                                         SayLine say) {
  const std::string path = (fs::path(folder) / kCheckpoint).string();
  LSEG_CHECK(fs::exists(path), folder << " holds no " << kCheckpoint << " to resume from");
  const Room room = RoomOf(options);
  Checkpoint checkpoint = Checkpoint::Read(path);
  std::vector<std::string> notes;
  ApplyToResumed(options, &checkpoint.plan, &notes);
  for (const std::string& note : notes) say(note);
  std::unique_ptr<Trainer> trainer(
      new Trainer(checkpoint.plan, room, folder, std::move(say), &checkpoint));
  trainer->Begin(&checkpoint);
  return trainer;
}

Trainer::Trainer(const TrainPlan& plan, const Room& room, const std::string& folder, SayLine say,
                 const Checkpoint* checkpoint)
    : plan_(plan),
      folder_(folder),
      say_(std::move(say)),
      solver_definition_(plan.Solver()),
      solver_param_(plan.SolverParam()),
      context_(plan.OnDevice(), plan.threads) {
  if (context_.device() == Device::kCpu) memory_limit_ = room.memory_limit;
  memory_.program = room.program;
  model_.net_text = plan_.test_net_text;
  model_.classes = plan_.classes;
  say_(plan_.net_name + ", " + plan_.solver_name + ", " + std::to_string(plan_.iterations) +
       " iterations, seed " + std::to_string(plan_.seed));
  say_(context_.Describe() + (plan_.precision == "f32" ? "" : ", precision " + plan_.precision));
  MakeData();
  list_ = plan_.TrainingList();
  list_text_ = ReadFile(list_);
  MakeNet(checkpoint);
}

void Trainer::Begin(const Checkpoint* checkpoint) {
  if (checkpoint != nullptr) {
    Restore(*checkpoint);
  } else if (!plan_.weights.empty()) {
    LoadWeights();
  }
  net_->ParametersChanged();
  PrepareValidation();
  std::vector<std::string> losses;
  for (const NetLoss& loss : net_->losses()) losses.push_back(loss.name);
  log_ = std::make_unique<TrainLog>(
      folder_, losses, validation_ ? model_.classes : std::vector<std::string>(), iteration());
}

void Trainer::PrepareValidation() {
  if (plan_.val_every == 0 || validation_) return;
  validation_ = std::make_unique<Validation>(plan_, model_, context_, parameters_);
  validation_->Prepare(
      0, [this](const MemoryPlan& plan) { say_("memory of validation's net: " + ToString(plan)); });
}

LayerRegistry Trainer::Layers() const {
  LayerRegistry registry = BuiltinLayers();
  AddLayers(registry);
  return registry;
}

std::map<std::string, TensorDesc> Trainer::Inputs() const {
  if (!data_ && !device_data_) return {};
  const std::vector<TensorDesc> blobs = data_ ? data_->Blobs() : device_data_->Blobs();
  return {{"data", blobs[0]}, {"label", blobs[1]}};
}

void Trainer::MakeData() {
  const NetDefinition net = plan_.Net().Filtered(solver_definition_.TrainState());
  if (!plan_.augment) {
    UseDataLayer(net);
    return;
  }
  TrainingDataOptions options;
  options.augment.width = plan_.crop_width;
  options.augment.height = plan_.crop_height;
  options.batch_size = static_cast<int>(BatchOfInputs(net));
  options.classes = model_.classes;
  options.mean_bgr = model_.mean_bgr;
  options.seed = static_cast<uint64_t>(plan_.seed);
  options.max_pixels = plan_.max_pixels;
  if (context_.device() == Device::kCuda) {
    device_data_ = std::make_unique<DeviceTrainingData>(plan_.data, options);
  } else {
    data_ = std::make_unique<TrainingData>(plan_.data, options);
    for (const TensorDesc& blob : data_->Blobs()) memory_.batches += 2 * blob.Bytes();
    memory_.batches +=
        ReadingBytes(data_->crops().width(), data_->crops().height(), std::ssize(options.classes));
  }
  const TrainingCrops& crops = data_ ? data_->crops() : device_data_->crops();
  if (crops.LeavesOut()) CheckTakesLeftOut(net);
  model_.width = crops.width();
  model_.height = crops.height();
  model_.view_radius =
      MedianViewRadius(plan_.data, crops.width(), crops.height(), plan_.max_pixels);
  images_per_step_ = options.batch_size * solver_param_.iter_size();
  say_("data: " + std::to_string(crops.images()) + " images of " + plan_.data + ", crops of " +
       std::to_string(plan_.crop_width) + "x" + std::to_string(plan_.crop_height) +
       (device_data_ ? " made on the GPU, which keeps up to " + Megabytes(options.memory_limit) +
                           " of images"
                     : ""));
}

// The net feeds itself: only what the model's description says of its input is taken from there.
void Trainer::UseDataLayer(const NetDefinition& net) {
  for (int i = 0; i < net.layer_count(); ++i) {
    if (net.layer(i).type() != kImageLabelmapData) continue;
    const std::unique_ptr<ImageLabelmapSource> source = MakeImageLabelmapSource(net, i, plan_.seed);
    const std::vector<float> means = source->transform().ChannelMeans();
    std::copy(means.begin(), means.end(), model_.mean_bgr.begin());
    model_.scale = source->transform().scale();
    model_.width = source->image_width();
    model_.height = source->image_height();
    images_per_step_ = int64_t{source->batch_size()} * solver_param_.iter_size();
    for (const TensorDesc& blob : source->Blobs()) memory_.batches += 2 * blob.Bytes();
    memory_.batches += ReadingBytes(model_.width, model_.height, /*classes=*/1);
    if (source->transform().has_mean_file()) {
      say_(net.Where(i, "transform_param.mean_file") +
           ": the weights files will carry its mean of each channel");
    }
    say_("data: " + std::to_string(source->images()) + " images, by " + net.Where(i));
  }
}

// What a first plan leaves out of account, the second knows.
void Trainer::MakeNet(const Checkpoint* checkpoint) {
  try {
    TryMakeNet(checkpoint);
  } catch (const OutOfMemory&) {
    if (memory_limit_ == 0) throw;
    parameters_ = std::make_shared<ParameterSet>(context_.device());
    TryMakeNet(checkpoint);
  }
  if (data_) {
    const int64_t wanted =
        std::min(data_->crops().options().memory_limit,
                 data_->crops().images() * ImageBytes(model_.width, model_.height));
    memory_.kept = std::clamp<int64_t>(memory_limit_ - memory_.Total(), 0, wanted);
    data_->LimitMemory(memory_.kept);
    net_->AttachSource(data_.get(), {"data", "label"});
  }
  if (memory_limit_ > 0) say_(ToString(memory_));
  if (device_data_) net_->AttachSource(device_data_.get(), {"data", "label"});
  LSEG_CHECK(
      net_->Learns(),
      plan_.net_name << ": nothing learns: no loss reaches a parameter whose lr_mult is not 0");
  solver_ = std::make_unique<Solver>(*net_, solver_param_);
  for (const std::string& note : net_->notes()) say_(note);
}

void Trainer::PlanMemory(const MemoryPlan& plan) {
  if (memory_limit_ == 0) return say_("memory of the training net: " + ToString(plan));
  memory_.net = plan;
  memory_.validation = 0;
  bool fits = true;
  if (plan_.val_every > 0) {
    validation_ = std::make_unique<Validation>(plan_, model_, context_, parameters_);
    const Shape shape = validation_->FirstShape();
    const int64_t image = ReadingBytes(shape.w, shape.h, std::ssize(model_.classes)) * shape.n;
    const int64_t others = memory_.Total() - memory_.Checkpoint();
    MemoryPlan of_net;
    try {
      validation_->Prepare(std::max<int64_t>(memory_limit_ - others - image, 1),
                           [&](const MemoryPlan& told) { of_net = told; });
    } catch (const OutOfMemory&) {
      fits = false;
    }
    memory_.validation = of_net.BesideParameters() + image;
    if (fits) say_("memory of validation's net: " + ToString(of_net));
  }
  if (fits && memory_.Total() <= memory_limit_) {
    return say_("memory of the training net: " + ToString(plan));
  }
  throw OutOfMemory("out of memory: " + Megabytes(memory_.Total()) + " are needed at the least (" +
                    Megabytes(memory_.net.Total()) + " for the training net), " +
                    Megabytes(memory_limit_) + " may be used");
}

void Trainer::TryMakeNet(const Checkpoint* checkpoint) {
  const caffe::NetState state = solver_definition_.TrainState();
  NetOptions options;
  options.phase = caffe::TRAIN;
  options.level = state.level();
  options.stages.assign(state.stage().begin(), state.stage().end());
  options.solver = &solver_param_;
  options.seed = static_cast<uint64_t>(plan_.seed);
  std::string problem;
  EngineCache cache = EngineCache::OfUser(plan_.tune, &problem);
  if (!problem.empty()) say_(problem);
  options.measure_engines = plan_.tune;
  options.engine_cache = &cache;
  options.precision = ParsePrecision(plan_.precision);
  options.library = plan_.Library();
  if (memory_limit_ > 0) {
    // 3x3 kernels over up to 64, 128, 256, 512 channels.
    options.recompute = {kRecomputeFirst, 600, 1200, 2400, 4800};
    const int64_t others = memory_.Total() - memory_.net.Total();
    options.memory_limit = std::max<int64_t>(memory_limit_ - others, 1);
  }
  options.planned = [this](const MemoryPlan& plan) { PlanMemory(plan); };
  if (checkpoint != nullptr) options.engines = checkpoint->engines;
  options.inputs = Inputs();
  net_ = std::make_unique<Net>(plan_.Net(), Layers(), context_, parameters_, options);
  if (const std::string reason = cache.Write(); !reason.empty()) say_(reason);
}

void Trainer::LoadWeights() {
  std::vector<std::string> foreign;
  const WeightsFile weights = ReadWeights(plan_.weights, &foreign);
  const LoadReport report = NamingFile(plan_.weights, [&] { return parameters_->Load(weights); });
  LSEG_CHECK(!report.loaded.empty(),
             plan_.weights << ": none of its tensors has a name that the net knows");
  say_(plan_.weights + ": loaded " + std::to_string(report.loaded.size()) + " tensors (" +
       report.loaded.front() + " .. " + report.loaded.back() + ")");
  if (!foreign.empty()) say_("of no type with weights here, skipped: " + Join(foreign));
  if (!report.skipped.empty()) say_("not in this net, skipped: " + Join(report.skipped));
  if (!report.missing.empty()) say_("not in the file, left as filled: " + Join(report.missing));
}

void Trainer::Restore(const Checkpoint& checkpoint) {
  LSEG_CHECK(checkpoint.list_text == list_text_,
             list_ << ": has changed since the training was started, which cannot be resumed "
                      "with it as it is now");
  const LoadReport report = parameters_->Load(checkpoint.tensors);
  LSEG_CHECK(report.missing.empty(), "the checkpoint lacks '" << report.missing.front() << "'");
  solver_->Load(checkpoint.tensors);
  best_mean_ = checkpoint.best_mean;
  validated_at_ = checkpoint.validated_at;
  checkpoint_at_ = iteration();
  say_("resumed after iteration " + std::to_string(iteration()));
}

}  // namespace lseg
