#include "lseg/eval_values.h"

#include <algorithm>
#include <charconv>
#include <cstdio>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

// Mean over the images in which `value` has one, each counted so many times.
template <typename Of>
Value MeanOverImages(const Evaluation& evaluation, const std::vector<int>* times, Of value) {
  double sum = 0;
  int64_t count = 0;
  for (size_t i = 0; i < evaluation.images.size(); ++i) {
    const int n = times ? (*times)[i] : 1;
    if (n == 0) continue;
    if (const Value v = value(evaluation.images[i].report)) sum += n * *v, count += n;
  }
  if (count == 0) return std::nullopt;
  return sum / static_cast<double>(count);
}

}  // namespace

Value Aupr(const LesionReport& lesion, Protocol protocol) {
  const auto found = lesion.curves.find(protocol);
  return found == lesion.curves.end() ? std::nullopt : found->second.aupr;
}

Value AuprPerImage(const Evaluation& evaluation, size_t lesion, Protocol protocol,
                   const std::vector<int>* times) {
  return MeanOverImages(evaluation, times,
                        [&](const Report& r) { return Aupr(r.lesions[lesion], protocol); });
}

Value DicePerImage(const Evaluation& evaluation, size_t lesion, const std::vector<int>* times) {
  return MeanOverImages(evaluation, times, [&](const Report& r) -> Value {
    const PointScore& point = r.lesions[lesion].at_threshold;
    return point.positives == 0 ? std::nullopt : point.Dice();
  });
}

Value MeanOf(const std::vector<Value>& values) {
  double sum = 0;
  int count = 0;
  for (const Value& value : values) {
    if (value) sum += *value, ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

size_t ImagesAnnotated(const Evaluation& evaluation, size_t lesion) {
  return static_cast<size_t>(std::count_if(
      evaluation.images.begin(), evaluation.images.end(),
      [&](const ImageScore& i) { return i.report.lesions[lesion].at_threshold.pixels > 0; }));
}

// Pixels of all images, whatever they are annotated for.
int64_t Pixels(const Evaluation& evaluation) {
  int64_t pixels = 0;
  for (const ImageScore& image : evaluation.images) pixels += int64_t{image.width} * image.height;
  return pixels;
}

size_t ImagesWith(const Evaluation& evaluation, size_t lesion) {
  return static_cast<size_t>(std::count_if(
      evaluation.images.begin(), evaluation.images.end(),
      [&](const ImageScore& i) { return i.report.lesions[lesion].at_threshold.positives > 0; }));
}

// Lesions that were looked for, and are nowhere.
std::vector<std::string> Absent(const Evaluation& evaluation) {
  std::vector<std::string> absent;
  for (size_t c = 0; c < evaluation.pooled.lesions.size(); ++c) {
    const PointScore& point = evaluation.pooled.lesions[c].at_threshold;
    if (point.pixels > 0 && point.positives == 0) {
      absent.push_back(evaluation.options.scores.lesions[c]);
    }
  }
  return absent;
}

Value FigureOf(const Evaluation& evaluation, size_t row, const std::string& name) {
  if (!evaluation.statistics) return std::nullopt;
  const Figures& figures = evaluation.statistics->figures[row];
  const auto found = figures.find(name);
  return found == figures.end() ? std::nullopt : Value(found->second);
}

std::optional<Interval> IntervalOf(const Evaluation& evaluation, size_t row,
                                   const std::string& name) {
  if (!evaluation.statistics) return std::nullopt;
  const auto& intervals = evaluation.statistics->intervals[row];
  const auto found = intervals.find(name);
  return found == intervals.end() ? std::nullopt : std::optional(found->second);
}

std::string Fixed(Value value, int digits) {
  if (!value) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", digits, *value);
  return text;
}

std::string Fixed(std::optional<Interval> interval, int digits) {
  if (!interval) return "-";
  return Fixed(Value(interval->low), digits) + " to " + Fixed(Value(interval->high), digits);
}

std::string Shortest(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

std::string ThresholdText(std::optional<float> threshold) {
  if (!threshold) return "-";
  char text[32];
  return {text, std::to_chars(text, text + sizeof(text), *threshold).ptr};
}

std::string Describe(Protocol protocol) {
  switch (protocol) {
    case Protocol::kIdrid33:
      return "idrid33: AUPR by the IDRiD challenge: 33 thresholds on 8-bit gray, trapezoids";
    case Protocol::kMmseg11:
      return "mmseg11: AUPR of 11 thresholds 0, 0.1, ..., 1 on the probability, trapezoids";
    case Protocol::kExact:
      return "exact: average precision over all distinct probabilities";
  }
  LSEG_FAIL("no such protocol: " << static_cast<int>(protocol));
}

std::string Describe(PredictionKind kind) {
  switch (kind) {
    case PredictionKind::kNone:
      return "none";
    case PredictionKind::kNpy:
      return "npy";
    case PredictionKind::kGrayPng:
      return "8-bit png";
    case PredictionKind::kNpyAndGrayPng:
      return "npy and 8-bit png";
    case PredictionKind::kClassMap:
      return "class maps";
  }
  LSEG_FAIL("no such kind of prediction: " << static_cast<int>(kind));
}

std::string ThresholdsText(const PrOptions& scores) {
  const std::vector<float>& of = scores.thresholds;
  if (std::count(of.begin(), of.end(), of[0]) == static_cast<int64_t>(of.size())) {
    return Shortest(of[0]);
  }
  std::string text;
  for (size_t c = 0; c < of.size(); ++c) {
    text += (c ? ", " : "") + scores.lesions[c] + " " + Shortest(of[c]);
  }
  return text;
}

}  // namespace lseg
