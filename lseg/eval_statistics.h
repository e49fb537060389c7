// What the choice of images makes of an evaluation: intervals of every figure, thresholds chosen by
// the truth, and the difference between two models; all from counts an image (LesionCounts).
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lseg/bootstrap.h"
#include "lseg/lesion_counts.h"

namespace lseg {

struct Evaluation;

// What a threshold is chosen for.
struct PointTarget {
  enum class Kind { kLargestDice, kRecall, kPrecision } kind = Kind::kLargestDice;
  double value = 0;  // of recall or precision, in (0, 1]

  std::string Name() const;  // "max_dice", "recall=0.8", "precision=0.75"
};

struct StatisticsOptions {
  int resamples = 1000;  // 0: no intervals
  uint64_t seed = 1;
  std::vector<PointTarget> targets = {{}};  // for each of which every lesion gets a threshold
};

// A threshold of FineThreshold's grid, and the scores at it over all images. Nothing where the
// target cannot be met, as for a lesion that is nowhere.
struct OperatingPoint {
  std::optional<float> threshold;
  PointScore score;
};

// Figures by name: "<protocol>.aupr" and "<protocol>.aupr_per_image", "dice", "iou", "precision",
// "recall", "prevalence", "dice_per_image", "ece" (expected calibration error), "froc"
// (Detections::Score), and "<target>.dice", "<target>.precision", "<target>.recall" at operating
// points; of class maps the ratios and "sensitivity" and "false_positives_per_image" alone. Without
// a value: not there.
using Figures = std::map<std::string, double>;

struct Statistics {
  StatisticsOptions options;
  std::vector<std::vector<OperatingPoint>> points;  // [lesion][target]
  std::vector<LesionCounts> pooled;                 // [lesion], its fine histogram of all images
  // One a lesion, then that of the mean, which is over the lesions that the images have. AUPR by
  // kExact is the exact one here.
  std::vector<Figures> figures;
  // Of those, from the resamples in which they have a value: a figure other than prevalence has
  // none where no image drawn has the lesion, and a mean none where one of its lesions has none.
  // Empty with options.resamples = 0 and with fewer than two images. By kExact the areas of the
  // resamples are those of FineHistogram.
  std::vector<std::map<std::string, Interval>> intervals;
  // The largest difference that these classes make to an area by kExact, all images taken.
  double exact_error = 0;
};

struct Difference {
  double value = 0, other = 0;
  std::optional<Interval> interval;  // of value - other
  std::optional<double> p;           // TwoSidedP
};

// Of this model and another one on the same images, resampled alike.
struct Comparison {
  std::string folder;                                      // the other's
  std::vector<std::map<std::string, Difference>> figures;  // of those that both have; rows as above
};

// Sets evaluation->statistics, and uses up the images' fine histograms: once an Evaluation.
void AddStatistics(const StatisticsOptions& options, Evaluation* evaluation);

// Sets evaluation->comparison. Both have statistics by the same options. An Error names the first
// image that was compared at another size.
void Compare(const Evaluation& other, Evaluation* evaluation);

}  // namespace lseg
