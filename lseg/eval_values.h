// Single values of an evaluation, as its table, JSON, CSV and page state them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lseg/evaluate.h"

namespace lseg {

using Value = std::optional<double>;

struct RatioColumn {
  const char* json;
  const char* title;
  Value (PointScore::*ratio)() const;
};
inline constexpr RatioColumn kRatios[] = {{"dice", "Dice", &PointScore::Dice},
                                          {"iou", "IoU", &PointScore::Iou},
                                          {"precision", "precision", &PointScore::Precision},
                                          {"recall", "recall", &PointScore::Recall},
                                          {"prevalence", "prevalence", &PointScore::Prevalence}};

Value Aupr(const LesionReport& lesion, Protocol protocol);
// Means over the images that have the lesion, of an image's own figure; `times`: how often each
// image counts (null: once).
Value AuprPerImage(const Evaluation& evaluation, size_t lesion, Protocol protocol,
                   const std::vector<int>* times = nullptr);
Value DicePerImage(const Evaluation& evaluation, size_t lesion,
                   const std::vector<int>* times = nullptr);
Value MeanOf(const std::vector<Value>& values);

size_t ImagesAnnotated(const Evaluation& evaluation, size_t lesion);
size_t ImagesWith(const Evaluation& evaluation, size_t lesion);
// Pixels of all images, whatever they are annotated for.
int64_t Pixels(const Evaluation& evaluation);
// Lesions that were looked for, and are nowhere.
std::vector<std::string> Absent(const Evaluation& evaluation);

// A figure of Statistics and its interval; `row` is a lesion, or their number for the mean. Nothing
// without statistics.
Value FigureOf(const Evaluation& evaluation, size_t row, const std::string& name);
std::optional<Interval> IntervalOf(const Evaluation& evaluation, size_t row,
                                   const std::string& name);

std::string Fixed(Value value, int digits);                       // "-" for nothing
std::string Fixed(std::optional<Interval> interval, int digits);  // "0.651 to 0.802"
std::string Shortest(double value);                               // "%g"
std::string ThresholdText(std::optional<float> threshold);  // the shortest that reads back the same
std::string Describe(Protocol protocol);
std::string Describe(PredictionKind kind);
// The thresholds of Dice and its like: one, or one a lesion.
std::string ThresholdsText(const PrOptions& scores);

}  // namespace lseg
