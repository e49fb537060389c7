// One function, FiguresOf, makes every figure of images that count so and so often: of all images
// once each, it is what is reported; of a draw, it is a resample.
#include "lseg/eval_statistics.h"

#include <cmath>
#include <cstdio>
#include <limits>

#include "kernels/runtime/check.h"
#include "lseg/eval_values.h"

namespace lseg {
namespace {

using Times = std::vector<int>;  // how often each image counts

void Put(const std::string& name, Value value, Figures* figures) {
  if (value) (*figures)[name] = *value;
}

void PutRatios(const std::string& prefix, const PointScore& score, Figures* figures) {
  Put(prefix + "dice", score.Dice(), figures);
  Put(prefix + "precision", score.Precision(), figures);
  Put(prefix + "recall", score.Recall(), figures);
}

LesionCounts Pool(const Evaluation& evaluation, const Times& times, size_t lesion) {
  LesionCounts sum;
  for (size_t i = 0; i < times.size(); ++i) {
    if (times[i] > 0) sum.Add(evaluation.images[i].counts[lesion], times[i]);
  }
  return sum;
}

Figures FiguresOfLesion(const Evaluation& evaluation, const StatisticsOptions& options,
                        const Times& times, size_t lesion) {
  const LesionCounts counts = Pool(evaluation, times, lesion);
  const PointScore& score = counts.pixels.point;
  Figures figures;
  Put("prevalence", score.Prevalence(), &figures);
  if (score.positives == 0) return figures;
  PutRatios("", score, &figures);
  Put("iou", score.Iou(), &figures);
  Put("dice_per_image", DicePerImage(evaluation, lesion, &times), &figures);
  if (evaluation.kind == PredictionKind::kClassMap) {
    Put("sensitivity", counts.detections.Sensitivity(0), &figures);
    Put("false_positives_per_image", counts.detections.FalsePositives(0), &figures);
    return figures;
  }
  for (Protocol protocol : evaluation.options.scores.protocols) {
    const std::string name = ToString(protocol);
    Put(name + ".aupr",
        protocol == Protocol::kExact ? counts.fine.AveragePrecision()
                                     : counts.pixels.Curve(protocol).aupr,
        &figures);
    Put(name + ".aupr_per_image", AuprPerImage(evaluation, lesion, protocol, &times), &figures);
  }
  Put("ece", counts.reliability.ExpectedCalibrationError(), &figures);
  Put("froc", counts.detections.Score(), &figures);
  for (size_t t = 0; t < counts.at.size(); ++t) {
    if (counts.at[t].pixels == 0) continue;  // no such threshold
    PutRatios(options.targets[t].Name() + ".", counts.at[t], &figures);
  }
  return figures;
}

bool Present(const Evaluation& evaluation, size_t lesion) {
  return evaluation.pooled.lesions[lesion].at_threshold.positives > 0;
}

// The mean over the lesions that the images have; of a resample, of those figures alone that as
// many lesions have as in `whole`, the rows of all images.
Figures MeanRow(const Evaluation& evaluation, const std::vector<Figures>& rows,
                const std::vector<Figures>* whole) {
  std::map<std::string, std::pair<double, int>> sums;
  std::map<std::string, int> wanted;
  for (size_t c = 0; c < evaluation.pooled.lesions.size(); ++c) {
    if (!Present(evaluation, c)) continue;
    for (const auto& [name, value] : rows[c]) sums[name].first += value, ++sums[name].second;
    for (const auto& [name, value] : whole ? (*whole)[c] : rows[c]) ++wanted[name];
  }
  Figures mean;
  for (const auto& [name, sum] : sums) {
    if (sum.second == wanted[name]) mean[name] = sum.first / sum.second;
  }
  return mean;
}

std::vector<Figures> FiguresOf(const Evaluation& evaluation, const StatisticsOptions& options,
                               const Times& times, const std::vector<Figures>* whole) {
  std::vector<Figures> rows;
  for (size_t c = 0; c < evaluation.pooled.lesions.size(); ++c) {
    rows.push_back(FiguresOfLesion(evaluation, options, times, c));
  }
  rows.push_back(MeanRow(evaluation, rows, whole));
  return rows;
}

std::optional<int> Choose(const FineHistogram& histogram, const PointTarget& target) {
  switch (target.kind) {
    case PointTarget::Kind::kLargestDice:
      return histogram.OfLargestDice();
    case PointTarget::Kind::kRecall:
      return histogram.OfRecall(target.value);
    case PointTarget::Kind::kPrecision:
      return histogram.OfPrecision(target.value);
  }
  LSEG_FAIL("no such target");
}

// Chooses the thresholds of one lesion and counts every image at them.
std::vector<OperatingPoint> ChoosePoints(const StatisticsOptions& options, size_t lesion,
                                         const FineHistogram& pooled, Evaluation* evaluation) {
  std::vector<OperatingPoint> points;
  if (evaluation->kind == PredictionKind::kClassMap) return points;
  for (const PointTarget& target : options.targets) {
    const std::optional<int> at = Choose(pooled, target);
    OperatingPoint& point = points.emplace_back();
    if (at) point = {FineThreshold(*at), pooled.At(*at)};
    for (ImageScore& image : evaluation->images) {
      LesionCounts& counts = image.counts[lesion];
      counts.at.push_back(at ? counts.fine.At(*at) : PointScore());
    }
  }
  return points;
}

// Values of a figure by resample, NaN where it has none; by row and name.
using Samples = std::vector<std::map<std::string, std::vector<double>>>;

Samples Resample(const Evaluation& evaluation, const Statistics& statistics) {
  const int count = evaluation.images.size() < 2 ? 0 : statistics.options.resamples;
  Samples samples(statistics.figures.size());
  for (size_t row = 0; row < samples.size(); ++row) {
    for (const auto& [name, value] : statistics.figures[row]) {
      samples[row][name].assign(count, std::numeric_limits<double>::quiet_NaN());
    }
  }
#pragma omp parallel for schedule(dynamic)
  for (int r = 0; r < count; ++r) {
    const Times times = DrawImages(statistics.options.seed, r, evaluation.images.size());
    const std::vector<Figures> rows =
        FiguresOf(evaluation, statistics.options, times, &statistics.figures);
    for (size_t row = 0; row < rows.size(); ++row) {
      for (const auto& [name, value] : rows[row]) {
        const auto found = samples[row].find(name);
        if (found != samples[row].end()) found->second[r] = value;
      }
    }
  }
  return samples;
}

std::vector<double> Finite(const std::vector<double>& values) {
  std::vector<double> finite;
  for (double value : values) {
    if (std::isfinite(value)) finite.push_back(value);
  }
  return finite;
}

// Takes the areas by kExact in the place of those by classes of probability.
void TakeExactAreas(const Evaluation& evaluation, Statistics* statistics) {
  const std::string name = ToString(Protocol::kExact) + ".aupr";
  for (size_t row = 0; row < statistics->figures.size(); ++row) {
    const auto found = statistics->figures[row].find(name);
    if (found == statistics->figures[row].end()) continue;
    const bool mean = row + 1 == statistics->figures.size();
    const double exact = mean ? *evaluation.pooled.MeanAupr(Protocol::kExact)
                              : *evaluation.pooled.lesions[row].curves.at(Protocol::kExact).aupr;
    statistics->exact_error = std::max(statistics->exact_error, std::abs(found->second - exact));
    found->second = exact;
  }
}

}  // namespace

std::string PointTarget::Name() const {
  if (kind == Kind::kLargestDice) return "max_dice";
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return (kind == Kind::kRecall ? "recall=" : "precision=") + std::string(text);
}

void AddStatistics(const StatisticsOptions& options, Evaluation* evaluation) {
  Statistics& statistics = evaluation->statistics.emplace();
  statistics.options = options;
  const Times once(evaluation->images.size(), 1);
  bool exact = false;
  for (Protocol p : evaluation->options.scores.protocols) exact = exact || p == Protocol::kExact;
  for (size_t c = 0; c < evaluation->pooled.lesions.size(); ++c) {
    LesionCounts pooled = Pool(*evaluation, once, c);
    statistics.points.push_back(ChoosePoints(options, c, pooled.fine, evaluation));
    statistics.pooled.push_back(std::move(pooled));
    if (exact) continue;
    for (ImageScore& image : evaluation->images) image.counts[c].fine = {};
  }
  statistics.figures = FiguresOf(*evaluation, options, once, nullptr);
  const Samples samples = Resample(*evaluation, statistics);
  statistics.intervals.resize(samples.size());
  for (size_t row = 0; row < samples.size(); ++row) {
    for (const auto& [name, values] : samples[row]) {
      const auto interval = PercentileInterval(Finite(values));
      if (interval) statistics.intervals[row][name] = *interval;
    }
  }
  TakeExactAreas(*evaluation, &statistics);
}

void Compare(const Evaluation& other, Evaluation* evaluation) {
  const Statistics &ours = *evaluation->statistics, &theirs = *other.statistics;
  for (size_t i = 0; i < evaluation->images.size(); ++i) {
    const ImageScore &a = evaluation->images[i], &b = other.images[i];
    LSEG_CHECK(a.width == b.width && a.height == b.height,
               a.name << ": is " << a.width << "x" << a.height << " here and " << b.width << "x"
                      << b.height << " in " << other.Folder()
                      << ": compare the two at one size, that of the truth");
  }
  Comparison& comparison = evaluation->comparison.emplace();
  comparison.folder = other.Folder();
  const Samples samples = Resample(*evaluation, ours), their_samples = Resample(other, theirs);
  for (size_t row = 0; row < ours.figures.size(); ++row) {
    auto& differences = comparison.figures.emplace_back();
    for (const auto& [name, value] : ours.figures[row]) {
      const auto found = theirs.figures[row].find(name);
      if (found == theirs.figures[row].end() || name == "prevalence") continue;
      std::vector<double> drawn = samples[row].at(name);
      const std::vector<double>& theirs_drawn = their_samples[row].at(name);
      for (size_t r = 0; r < drawn.size(); ++r) drawn[r] -= theirs_drawn[r];
      drawn = Finite(drawn);
      differences[name] = {value, found->second, PercentileInterval(drawn), TwoSidedP(drawn)};
    }
  }
}

}  // namespace lseg
