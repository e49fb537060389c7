// Validation: how well the net of a running training segments whole images, by idrid33.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "framework/net.h"
#include "lseg/dataset.h"
#include "lseg/image_labelmap_source.h"
#include "lseg/metrics.h"
#include "lseg/model.h"
#include "lseg/photo_input.h"
#include "lseg/train_plan.h"

namespace lseg {

struct ValidationScore {
  std::vector<std::optional<double>> aupr;  // one a class; none where the truth has no such pixel
  std::optional<double> mean;
};

class Validation {
 public:
  // Images are those of plan.val, at the sizes that they have, with the truth of ReadTruth; without
  // plan.val the batches of the test net's data layer, test_iter of them, as that layer makes them.
  // `context` outlives it; `parameters` are the training's. Throws Error where a list cannot be
  // read.
  Validation(const TrainPlan& plan, const ModelInfo& model, Context& context,
             std::shared_ptr<ParameterSet> parameters);

  // Makes the net for the first image or batch and lets it go again, so that memory that does not
  // suffice (OutOfMemory) shows before a training rather than in its midst. `planned` is told of
  // it. memory_limit: bytes that it and later ones may have beside the parameters; 0: no limit.
  void Prepare(int64_t memory_limit, const std::function<void(const MemoryPlan&)>& planned);

  // Of the first image or batch.
  Shape FirstShape() const;

  // Scores the parameters as they are. Nothing where `stop` became true on the way. Its net's
  // memory is taken for the time of the run: an OutOfMemory where it is not there, after which
  // another run may follow. An Error names the image that cannot be read.
  std::optional<ValidationScore> Run(const std::atomic<int>& stop);

 private:
  void AddListed(const ListEntry& entry, PrEvaluator* evaluator);
  void AddBatch(int64_t iteration, PrEvaluator* evaluator);
  Net& NetFor(const Shape& shape);
  void DropNet();
  // Runs the net on what its input holds; answers (N,classes,H,W), of the input's size.
  const float* Answer(Net& net, const Shape& shape);

  ModelInfo model_;
  Precision precision_;
  std::string library_;
  int64_t max_pixels_;
  Context& context_;
  std::shared_ptr<ParameterSet> parameters_;
  InferenceNet inference_;
  std::vector<ListEntry> entries_;
  std::unique_ptr<ImageLabelmapSource> source_;  // null: entries_
  int64_t count_ = 0;                            // images, or batches of the source
  std::unique_ptr<PhotoInput> photo_input_;      // where there are entries_
  std::unique_ptr<Net> net_;                     // of the latest size, during a run
  Shape net_shape_;
  int64_t memory_limit_ = 0;
  std::function<void(const MemoryPlan&)> planned_;  // see Prepare; null but then
};

}  // namespace lseg
