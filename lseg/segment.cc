// Weights enter before the first net, whose layers say which tensors there are and of which shape:
// which ops a net may fold depends on them. Each net packs those of its convolutions, and what was
// packed leaves the shared ParameterSet: for L-Seg that is a fifth of the weights' memory in f32,
// two thirds in bf16 on AMX.
#include "lseg/segment.h"

#include <algorithm>

#include "framework/caffemodel.h"
#include "framework/text.h"
#include "kernels/runtime/host_memory.h"

namespace lseg {
namespace {

constexpr size_t kNetsKept = 2;  // upright and sideways photographs of one camera

struct Mirror {
  bool x, y;  // left-right, up-down
};

Image Mirrored(const Image& photo, const Mirror& mirror) {
  Image turned(photo.width, photo.height, photo.channels);
  for (int y = 0; y < photo.height; ++y) {
    const uint8_t* from = photo.Row(mirror.y ? photo.height - 1 - y : y);
    uint8_t* to = turned.Row(y);
    for (int x = 0; x < photo.width; ++x) {
      const int at = mirror.x ? photo.width - 1 - x : x;
      std::copy_n(from + at * photo.channels, photo.channels, to + x * photo.channels);
    }
  }
  return turned;
}

// sum += the maps of a mirrored photograph, turned back.
void AddMirrored(const Probabilities& maps, const Mirror& mirror, Probabilities* sum) {
  for (size_t c = 0; c < maps.classes.size(); ++c) {
    for (int y = 0; y < maps.height; ++y) {
      const int row = mirror.y ? maps.height - 1 - y : y;
      const float* from = maps.Map(c) + int64_t{row} * maps.width;
      float* to = sum->Map(c) + int64_t{y} * maps.width;
      for (int x = 0; x < maps.width; ++x) to[x] += from[mirror.x ? maps.width - 1 - x : x];
    }
  }
}

ModelInfo ModelOf(const WeightsFile& weights, const std::string& path,
                  const SegmenterOptions& options) {
  ModelInfo model = FromMetadata(weights.metadata, path);
  if (options.net) model = FromDefinition(*options.net, model, !options.mean_bgr);
  if (!options.classes.empty()) model.classes = options.classes;
  if (options.mean_bgr) model.mean_bgr = *options.mean_bgr;
  return model;
}

}  // namespace

Segmenter::Segmenter(const std::string& weights, Context& context, const SegmenterOptions& options)
    : program_(ResidentMemory()),
      path_(weights),
      file_(weights),
      weights_(ReadFile()),
      model_(ModelOf(weights_, weights, options)),
      inference_(MakeInferenceNet(
          options.net ? *options.net
                      : NetDefinition::FromText(model_.net_text, "net of '" + weights + "'"))),
      context_(context),
      options_(options) {
  if (options_.memory_limit == 0) options_.memory_limit = program_ + AvailableMemory();
}

WeightsFile Segmenter::ReadFile() {
  foreign_.clear();
  return ParseWeights(file_.Read(), path_, &foreign_);
}

std::shared_ptr<ParameterSet> Segmenter::LoadParameters(const NetOptions& options) {
  const bool first = parameter_bytes_ == 0;
  WeightsFile again;
  if (!first) again = ReadFile();
  const WeightsFile& weights = first ? weights_ : again;
  auto parameters = std::make_shared<ParameterSet>(context_.device());
  parameters->Await(weights);
  const NetParts net = BuildLayers(inference_.definition.Filtered(options.phase), BuiltinLayers(),
                                   context_, options.seed, *parameters, options.inputs);
  const LoadReport report = NamingFile(path_, [&] { return parameters->Load(weights); });
  CheckComplete(inference_, net, report, path_);
  if (first) NoteLoading(net, report);
  parameter_bytes_ = parameters->Bytes();
  weights_ = again = WeightsFile();
  ReturnFreedMemory();  // before the net takes as much again
  return parameters;
}

void Segmenter::NoteLoading(const NetParts& net, const LoadReport& report) {
  // What a net fills is of interest only where the file does not fill it after all.
  if (!report.missing.empty()) notes_ = net.notes;
  if (!foreign_.empty()) {
    notes_.push_back("layers of no type with weights here, skipped: " + Join(foreign_));
  }
  if (!report.skipped.empty()) {
    // A checkpoint brings the solver's memory along: dozens of tensors.
    notes_.push_back("tensors that are not in this net, skipped: " +
                     (report.skipped.size() <= 3
                          ? Join(report.skipped)
                          : report.skipped.front() + " and " +
                                std::to_string(report.skipped.size() - 1) + " others"));
  }
}

int64_t Segmenter::Held(const MemoryPlan& net) const {
  return shared_ != nullptr ? net.BesideParameters() : net.Total();
}

SegmentMemory Segmenter::MemoryOf(const MemoryPlan& net, int64_t beside) const {
  SegmentMemory memory{net, program_, beside};
  if (shared_ == nullptr) memory.loading = 2 * parameter_bytes_;
  for (const SizedNet& other : nets_) memory.program += Held(other.net->memory());
  return memory;
}

bool Segmenter::Fits(const SegmentMemory& memory) const {
  return context_.device() != Device::kCpu || memory.Total() <= options_.memory_limit;
}

void Segmenter::CheckFits(const SegmentMemory& memory) const {
  if (Fits(memory)) return;
  throw OutOfMemory("out of memory: " + Megabytes(memory.Total()) + " are needed at the least (" +
                    Megabytes(memory.net.Total()) + " for the net, " + Megabytes(memory.beside) +
                    " for photographs), " + Megabytes(options_.memory_limit) + " may be used");
}

void Segmenter::Tell(int width, int height, const SegmentMemory& memory) {
  if (memory.Total() <= told_) return;
  told_ = memory.Total();
  if (options_.planned) options_.planned(width, height, memory);
}

void Segmenter::MakeNet(int width, int height, int64_t beside) {
  NetOptions options;
  options.inputs[inference_.input] = TensorDesc{Shape{1, 3, height, width}};
  options.precision = options_.precision;
  options.measure_engines = options_.measure_engines;
  options.engine_cache = options_.cache;
  if (options_.engine != "own") options.library = options_.engine;
  options.release_packed = file_.CanBeReadAgain();
  std::shared_ptr<ParameterSet> parameters = shared_;
  if (parameters == nullptr) {
    if (!nets_.empty()) CheckFits(MemoryOf(MemoryPlan(), beside));  // without them it may
    parameters = LoadParameters(options);
    if (!options.release_packed) shared_ = parameters;
  }
  if (context_.device() == Device::kCpu) {
    const SegmentMemory others = MemoryOf(MemoryPlan(), beside);
    options.chains = ChainLadder();
    // At least 1: 0 would be no limit.
    options.memory_limit =
        std::max<int64_t>(options_.memory_limit - others.program - others.beside, 1);
  }
  options.planned = [&](const MemoryPlan& plan) {
    const SegmentMemory memory = MemoryOf(plan, beside);
    CheckFits(memory);
    told_ = 0;  // a new net
    Tell(width, height, memory);
  };
  auto net =
      std::make_unique<Net>(inference_.definition, BuiltinLayers(), context_, parameters, options);
  auto input = std::make_unique<PhotoInput>(context_, model_, width, height);
  net->AttachSource(input.get(), {inference_.input});
  nets_.push_front({width, height, std::move(input), std::move(net)});
}

Segmenter::SizedNet& Segmenter::NetOf(int width, int height, int64_t beside) {
  if (options_.mirrored) {  // one mirror image and its maps at a time
    beside += int64_t{width} * height * (3 + 4 * static_cast<int64_t>(model_.classes.size()));
  }
  const auto found = std::find_if(nets_.begin(), nets_.end(), [&](const SizedNet& sized) {
    return sized.width == width && sized.height == height;
  });
  if (found != nets_.end()) {
    nets_.splice(nets_.begin(), nets_, found);
    const MemoryPlan& plan = nets_.front().net->memory();
    SegmentMemory memory = MemoryOf(plan, beside);
    memory.program -= Held(plan);
    memory.loading = 0;
    if (Fits(memory)) {
      Tell(width, height, memory);
      return nets_.front();
    }
    nets_.pop_front();  // one in lower strips may
  }
  while (nets_.size() >= kNetsKept) nets_.pop_back();
  try {
    MakeNet(width, height, beside);
  } catch (const OutOfMemory&) {
    if (nets_.empty()) throw;
    nets_.clear();
    MakeNet(width, height, beside);
  }
  return nets_.front();
}

Probabilities Segmenter::Run(const Image& photo, int64_t beside,
                             const std::function<void()>& before_answer) {
  LSEG_CHECK(photo.channels == 3 && photo.width > 0 && photo.height > 0,
             "a photograph to segment is RGB, not " << photo.width << "x" << photo.height << "x"
                                                    << photo.channels);
  SizedNet& sized = NetOf(photo.width, photo.height, beside);
  Probabilities sum = RunOnce(sized, photo, before_answer);
  if (!options_.mirrored) return sum;
  for (const Mirror mirror : {Mirror{true, false}, {false, true}, {true, true}}) {
    const Probabilities more = RunOnce(sized, Mirrored(photo, mirror), nullptr);
    AddMirrored(more, mirror, &sum);
  }
  for (float& value : sum.values) value *= 0.25f;
  return sum;
}

Probabilities Segmenter::RunOnce(SizedNet& sized, const Image& photo,
                                 const std::function<void()>& before_answer) {
  Net& net = *sized.net;
  sized.input->Set(photo);
  net.Fetch(0);
  net.Forward();
  const Shape& shape = net.Desc(inference_.answer).shape;
  LSEG_CHECK(shape.n == 1 && shape.c == static_cast<int64_t>(model_.classes.size()),
             path_ << ": the net's answer '" << inference_.answer << "' is " << ToString(shape)
                   << ", its classes are " << Join(model_.classes));
  const float* values = net.Output(inference_.answer);  // waits for a GPU
  if (before_answer) before_answer();
  Probabilities answer(static_cast<int>(shape.w), static_cast<int>(shape.h), model_.classes);
  std::copy(values, values + shape.Count(), answer.values.begin());
  CheckProbabilities(answer, net);
  return answer;
}

void Segmenter::CheckProbabilities(const Probabilities& answer, Net& net) const {
  const auto wrong = std::find_if(answer.values.begin(), answer.values.end(),
                                  [](float p) { return !(p >= 0 && p <= 1); });
  if (wrong == answer.values.end()) return;
  const std::string where = net.FindNonFinite();
  LSEG_FAIL(path_ << ": the net answers " << *wrong << " where a probability was expected"
                  << (where.empty() ? "" : "; the first value that is not finite comes from ")
                  << where);
}

}  // namespace lseg
