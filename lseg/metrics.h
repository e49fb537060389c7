// Scores of lesion probabilities against the truth: precision-recall curves and their areas by
// three protocols, and Dice, IoU, precision and recall at a threshold; pooled over images, and per
// image.
//
// Published figures for these lesions come from different protocols and are not comparable with one
// another, so every area here belongs to a named Protocol. The two that count at fixed thresholds
// keep histograms only, whatever the number of images; average precision takes a second pass.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lseg/exact_ap.h"

namespace lseg {

enum class Protocol {
  // The IDRiD challenge's: gray = round(255 p), positive where gray >= t for t = 0, 8, ..., 256,
  // precision 1 where nothing is predicted, area by the trapezoid rule over recall.
  kIdrid33,
  // Positive where p > t for t = 0, 0.1, ..., 1 (as float32), else as above. Where positive pixels
  // have p = 0 the curve ends before recall 1, and the area beyond it counts as nothing.
  kMmseg11,
  // Average precision: sum over the distinct probabilities of recall step times precision.
  kExact,
};
inline constexpr Protocol kProtocols[] = {Protocol::kIdrid33, Protocol::kMmseg11, Protocol::kExact};
std::string ToString(Protocol protocol);  // "idrid33", "mmseg11", "exact"

// Pixels counted at one threshold, and the ratios they give. A ratio of nothing to nothing has no
// value: Dice and IoU where neither truth nor prediction has a pixel, precision where nothing is
// predicted, recall where the truth is empty.
struct PointScore {
  int64_t pixels = 0;
  int64_t positives = 0;  // in the truth
  int64_t predicted = 0;
  int64_t hits = 0;  // both

  void Add(const PointScore& other, int64_t times = 1);  // its counts, `times` times
  std::optional<double> Prevalence() const;              // positives / pixels
  std::optional<double> Dice() const;                    // the F1 score
  std::optional<double> Iou() const;
  std::optional<double> Precision() const;
  std::optional<double> Recall() const;
};

struct LesionReport {
  PointScore at_threshold;
  std::map<Protocol, PrCurve> curves;  // of the protocols asked for
};

struct Report {
  std::vector<LesionReport> lesions;  // in the evaluator's order

  // Means over the lesions that have positive pixels in the truth: the others have no area, and
  // their Dice of 0 would say nothing about the segmentation. Nothing where no lesion has a value.
  std::optional<double> MeanAupr(Protocol protocol) const;
  std::optional<double> Mean(std::optional<double> (PointScore::*ratio)() const) const;
};

// The curve and area of pixels counted by 8-bit gray value, positives and negatives of the truth
// apart, by kIdrid33.
using GrayHistogram = std::array<int64_t, 256>;
PrCurve Idrid33Curve(const GrayHistogram& positives, const GrayHistogram& negatives);

// What the pixels of one lesion come to, by truth (0 negative, 1 positive); sums over images are
// those of their members.
struct PixelTally {
  PointScore point;
  GrayHistogram gray[2] = {};             // where kIdrid33 is wanted
  std::array<int64_t, 12> above[2] = {};  // kMmseg11: by the number of its thresholds below p

  // Adds another's counts `times` times.
  void Add(const PixelTally& other, int64_t times = 1);
  // By kIdrid33 or kMmseg11; kExact is not in it, an Error.
  PrCurve Curve(Protocol protocol) const;
};

// An Error names `name`, the lesion and the first pixel whose probability is NaN or outside [0, 1].
// prob: lesions x height x width.
void CheckProbabilities(const std::string& name, const std::vector<std::string>& lesions,
                        const float* prob, int64_t height, int64_t width);

struct PrOptions {
  std::vector<std::string> lesions = {"EX", "HE", "MA", "SE"};  // names of the channels, in order
  std::vector<Protocol> protocols = {Protocol::kIdrid33};       // may be empty: PointScore only
  std::vector<float> thresholds = {0.5f};  // positive where p >= it; one for all or one a lesion
};

// Collects images, one after another. One thread calls; the lesions are counted in parallel.
//
//   PrEvaluator evaluator({.protocols = {Protocol::kIdrid33}});
//   for (each image) evaluator.Add(name, probabilities, truth, height, width);
//   double mean = evaluator.Pooled().MeanAupr(Protocol::kIdrid33).value_or(0);
//
// Memory is constant but for kExact, which keeps what ExactAp says.
class PrEvaluator {
 public:
  explicit PrEvaluator(PrOptions options = {});

  // prob: C x height x width, float32 in [0, 1]; truth: the same shape, 0 or else lesion. Returns
  // the image's own report, its curves without points. An Error names `name`, the lesion and the
  // first pixel whose probability is NaN or out of range; the image is then not counted at all.
  // A lesion that is not `annotated` (one flag a lesion; none: all are) counts no pixel of it.
  // `tallies`, where given, becomes the image's own, one a lesion.
  Report Add(const std::string& name, const float* prob, const uint8_t* truth, int64_t height,
             int64_t width, const std::vector<bool>& annotated = {},
             std::vector<PixelTally>* tallies = nullptr);

  // kExact wants every image shown once more, in any order, after the last Add.
  bool NeedsSecondPass() const;
  void AddSecondPass(const float* prob, const uint8_t* truth, int64_t height, int64_t width,
                     const std::vector<bool>& annotated = {});

  // Over all pixels of all images so far. An Error if kExact's second pass has not seen every
  // pixel.
  Report Pooled() const;

  const PrOptions& options() const { return options_; }

 private:
  PixelTally Count(const float* prob, const uint8_t* truth, int64_t pixels, float threshold) const;
  LesionReport ReportOf(const PixelTally& tally, const ExactAp& exact) const;

  PrOptions options_;
  bool gray_ = false, mmseg_ = false, exact_ = false;
  std::vector<PixelTally> tallies_;          // one a lesion
  std::vector<ExactAp> exacts_;              // one a lesion, unused without kExact
  std::vector<int64_t> second_pass_pixels_;  // one a lesion
};

}  // namespace lseg
