#include "lseg/validation.h"

#include <algorithm>

#include "lseg/layers.h"
#include "lseg/segment.h"

namespace lseg {
namespace {

// The data layer of a test net, as a source.
std::unique_ptr<ImageLabelmapSource> MakeSource(const TrainPlan& plan) {
  const NetDefinition test = plan.TestNet().Filtered(caffe::TEST);
  const int layer = FindDataLayer(test);
  LSEG_CHECK(layer >= 0, test.name()
                             << ": no list to validate on, and no ImageLabelmapData in phase TEST");
  return MakeImageLabelmapSource(test, layer, plan.seed);
}

}  // namespace

Validation::Validation(const TrainPlan& plan, const ModelInfo& model, Context& context,
                       std::shared_ptr<ParameterSet> parameters)
    : model_(model),
      precision_(ParsePrecision(plan.precision)),
      library_(plan.Library()),
      max_pixels_(plan.max_pixels),
      context_(context),
      parameters_(std::move(parameters)),
      inference_(MakeInferenceNet(plan.TestNet())) {
  if (!plan.val.empty()) {
    entries_ = ReadList(plan.val);
    count_ = static_cast<int64_t>(entries_.size());
    return;
  }
  source_ = MakeSource(plan);
  count_ = plan.Solver().solver().test_iter(0);
}

Shape Validation::FirstShape() const {
  if (source_) return source_->Blobs()[0].shape;
  const Image photo = ReadPhoto(entries_[0].image, max_pixels_);
  return {1, 3, photo.height, photo.width};
}

void Validation::Prepare(int64_t memory_limit,
                         const std::function<void(const MemoryPlan&)>& planned) {
  memory_limit_ = memory_limit;
  planned_ = planned;
  NetFor(FirstShape());
  DropNet();
  planned_ = nullptr;
}

std::optional<ValidationScore> Validation::Run(const std::atomic<int>& stop) {
  PrOptions options;
  options.lesions = model_.classes;
  PrEvaluator evaluator(options);
  bool stopped = false;
  for (int64_t i = 0; i < count_ && !stopped; ++i) {
    source_ ? AddBatch(i, &evaluator) : AddListed(entries_[i], &evaluator);
    stopped = stop != 0;
  }
  DropNet();
  if (stopped) return std::nullopt;
  const Report report = evaluator.Pooled();
  ValidationScore score;
  for (const LesionReport& lesion : report.lesions) {
    score.aupr.push_back(lesion.curves.at(Protocol::kIdrid33).aupr);
  }
  score.mean = report.MeanAupr(Protocol::kIdrid33);
  return score;
}

void Validation::AddListed(const ListEntry& entry, PrEvaluator* evaluator) {
  const Image photo = ReadPhoto(entry.image, max_pixels_);
  const std::vector<Image> masks = ReadTruth(entry, model_.classes, max_pixels_);
  const std::vector<uint8_t> truth = TruthPlanes(entry, masks, photo);
  const Shape shape{1, 3, photo.height, photo.width};
  Net& net = NetFor(shape);
  photo_input_->Set(photo);
  net.Fetch(0);
  evaluator->Add(entry.image, Answer(net, shape), truth.data(), photo.height, photo.width,
                 Annotated(masks));
}

void Validation::AddBatch(int64_t iteration, PrEvaluator* evaluator) {
  const std::vector<TensorDesc> blobs = source_->Blobs();
  const Shape& shape = blobs[0].shape;
  Net& net = NetFor(shape);
  std::vector<uint8_t> label(blobs[1].shape.Count());
  void* const pointers[] = {net.Input(inference_.input), label.data()};
  source_->Fill(iteration, pointers);
  const float* answer = Answer(net, shape);
  const auto classes = static_cast<int64_t>(model_.classes.size());
  const int64_t plane = shape.h * shape.w;
  for (int64_t n = 0; n < shape.n; ++n) {
    std::vector<uint8_t> truth(classes * plane);
    for (int64_t i = 0; i < plane; ++i) {
      const int value = label[n * plane + i];
      LSEG_CHECK(value <= classes, "test batch " << iteration << ": a label map has the class "
                                                 << value << ", the classes are 0 to " << classes);
      if (value > 0) truth[(value - 1) * plane + i] = 1;
    }
    evaluator->Add("test batch " + std::to_string(iteration), answer + n * classes * plane,
                   truth.data(), shape.h, shape.w);
  }
}

void Validation::DropNet() {
  net_.reset();
  photo_input_.reset();
}

Net& Validation::NetFor(const Shape& shape) {
  if (!net_ || !(net_shape_ == shape)) {
    DropNet();
    NetOptions options;
    options.inputs[inference_.input] = TensorDesc{shape};
    options.precision = precision_;
    options.library = library_;
    options.planned = planned_;
    if (memory_limit_ > 0) {
      options.chains = ChainLadder();
      options.memory_limit = memory_limit_ + parameters_->Bytes();
    }
    auto net = std::make_unique<Net>(inference_.definition, BuiltinLayers(), context_, parameters_,
                                     options);
    if (!source_) {
      photo_input_ = std::make_unique<PhotoInput>(context_, model_, static_cast<int>(shape.w),
                                                  static_cast<int>(shape.h));
      net->AttachSource(photo_input_.get(), {inference_.input});
    }
    net_ = std::move(net);  // whole, or not at all
    net_shape_ = shape;
  }
  return *net_;
}

const float* Validation::Answer(Net& net, const Shape& shape) {
  net.Forward();
  const Shape& answer = net.Desc(inference_.answer).shape;
  const Shape wanted{shape.n, static_cast<int64_t>(model_.classes.size()), shape.h, shape.w};
  LSEG_CHECK(answer == wanted, "the net's answer '"
                                   << inference_.answer << "' is " << ToString(answer)
                                   << ": validation needs a map a class, " << ToString(wanted));
  return net.Output(inference_.answer);
}

}  // namespace lseg
