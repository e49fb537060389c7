// The evaluation of a folder of predictions against the truth of a list of images: finds the files,
// brings truth and prediction to one size, and pools them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "lseg/colour_baseline.h"
#include "lseg/eval_statistics.h"
#include "lseg/image.h"
#include "lseg/metrics.h"

namespace lseg {

struct EvaluationOptions {
  // Lines `images/x.png labels/x.png`, relative to the list (lseg/dataset.h). The truth is
  // masks/x_<lesion>.png beside labels/ where they are, else the classes c + 1 of labels/x.png; or
  // a line names the masks. A lesion that an image is not annotated for is not counted there.
  std::string truth_list;

  // One of the two, or neither where the colour baseline alone is wanted. Predictions have an
  // image's name by lseg/photo_list.h, which is its stem as a rule:
  std::string prob_folder;    // <name>.prob.npy: float32 (lesions, height, width), or else
                              // <name>.<lesion>.prob.png: gray, 255 p
  std::string labels_folder;  // <name>.label.png: class maps; these have no areas

  PrOptions scores;
  // At the truth's size, for which probabilities are resized bilinearly and class maps by nearest
  // neighbours; otherwise at the prediction's size, for which the truth is resized by area.
  bool size_of_truth = false;
  bool colour_baseline = false;
  bool count_images = false;        // fill ImageScore::counts, for AddStatistics
  int64_t max_pixels = kMaxPixels;  // of any image
};

enum class PredictionKind { kNone, kNpy, kGrayPng, kNpyAndGrayPng, kClassMap };

struct ImageScore {
  std::string name;
  int width = 0, height = 0;  // at which it was evaluated
  Report report;
  std::vector<LesionCounts> counts = {};  // one a lesion; see count_images
};

struct Evaluation {
  EvaluationOptions options;
  PredictionKind kind = PredictionKind::kNone;
  std::vector<ImageScore> images;  // empty for kNone
  Report pooled;                   // no lesions for kNone
  size_t listed = 0;               // images of the list
  std::string baseline_size;       // "1440x960", or a range
  std::vector<ColourAreas> baseline;
  std::optional<Statistics> statistics = {};  // AddStatistics
  std::optional<Comparison> comparison = {};  // Compare

  // That of the predictions.
  const std::string& Folder() const {
    return options.prob_folder.empty() ? options.labels_folder : options.prob_folder;
  }
};

// An Error names the file at fault: no such prediction (all are looked for before any is read), a
// list that cannot be read, shapes that do not fit, a value that is no probability.
Evaluation Evaluate(const EvaluationOptions& options);
// The part of these that needs no image: that there is a prediction for every image of the list.
void CheckPredictions(const EvaluationOptions& options);

// "1440x960", or "1024x768 to 1440x960" by area where they differ.
std::string SizeRange(const std::vector<ImageScore>& images);

}  // namespace lseg
