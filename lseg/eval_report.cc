// Everything here reads an Evaluation; nothing is counted, only averaged over images.
#include "lseg/eval_report.h"

#include <algorithm>
#include <cstdio>
#include <nlohmann/json.hpp>
#include <optional>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

using Json = nlohmann::ordered_json;
using Value = std::optional<double>;

struct RatioColumn {
  const char* json;
  const char* title;
  Value (PointScore::*ratio)() const;
};
constexpr RatioColumn kRatios[] = {{"dice", "Dice", &PointScore::Dice},
                                   {"iou", "IoU", &PointScore::Iou},
                                   {"precision", "precision", &PointScore::Precision},
                                   {"recall", "recall", &PointScore::Recall},
                                   {"prevalence", "prevalence", &PointScore::Prevalence}};

Value Aupr(const LesionReport& lesion, Protocol protocol) {
  const auto found = lesion.curves.find(protocol);
  return found == lesion.curves.end() ? std::nullopt : found->second.aupr;
}

// Mean over the images in which `value` has one.
template <typename Of>
Value MeanOverImages(const Evaluation& evaluation, Of value) {
  double sum = 0;
  int count = 0;
  for (const ImageScore& image : evaluation.images) {
    if (const Value v = value(image.report)) sum += *v, ++count;
  }
  if (count == 0) return std::nullopt;
  return sum / count;
}

Value AuprPerImage(const Evaluation& evaluation, size_t lesion, Protocol protocol) {
  return MeanOverImages(evaluation,
                        [&](const Report& r) { return Aupr(r.lesions[lesion], protocol); });
}

Value DicePerImage(const Evaluation& evaluation, size_t lesion) {
  return MeanOverImages(evaluation, [&](const Report& r) -> Value {
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

std::string Fixed(Value value, int digits) {
  if (!value) return "-";
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", digits, *value);
  return text;
}

std::string Shortest(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%g", value);
  return text;
}

// Rows of cells as lines: the first column to the left, the others to the right.
std::string Align(const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const auto& row : rows) {
    widths.resize(std::max(widths.size(), row.size()), 0);
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text;
  for (const auto& row : rows) {
    std::string line;
    for (size_t i = 0; i < row.size(); ++i) {
      const std::string pad(widths[i] - row[i].size(), ' ');
      line += i == 0 ? row[i] + pad : "  " + pad + row[i];
    }
    text += line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
  }
  return text;
}

const char* Describe(Protocol protocol) {
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

std::string ThresholdText(const PrOptions& scores) {
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

std::string HeadText(const Evaluation& evaluation) {
  const EvaluationOptions& options = evaluation.options;
  std::string text = std::to_string(evaluation.images.size()) + " images of " + options.truth_list +
                     ", predictions (" + Describe(evaluation.kind) + ") in " + options.prob_folder +
                     options.labels_folder + "\nat " + SizeRange(evaluation.images) + ", the " +
                     (options.size_of_truth ? "truth" : "prediction") + "'s size; pooled over " +
                     std::to_string(Pixels(evaluation)) + " pixels\n";
  if (evaluation.kind == PredictionKind::kClassMap) {
    return text + "AUPR has no value: class maps have one point, not a curve\n";
  }
  for (Protocol protocol : options.scores.protocols) text += std::string(Describe(protocol)) + "\n";
  return text + "Dice to recall: where the probability is at least " +
         ThresholdText(options.scores) + "\n";
}

std::string PooledText(const Evaluation& evaluation) {
  const PrOptions& scores = evaluation.options.scores;
  std::vector<std::vector<std::string>> rows = {{"lesion"}};
  for (Protocol protocol : scores.protocols) rows[0].push_back(ToString(protocol));
  for (const RatioColumn& column : kRatios) rows[0].push_back(column.title);
  for (size_t c = 0; c < scores.lesions.size(); ++c) {
    const LesionReport& lesion = evaluation.pooled.lesions[c];
    std::vector<std::string>& row = rows.emplace_back(1, scores.lesions[c]);
    for (Protocol protocol : scores.protocols) row.push_back(Fixed(Aupr(lesion, protocol), 4));
    for (const RatioColumn& column : kRatios) {
      const bool rare = column.ratio == &PointScore::Prevalence;
      row.push_back(Fixed((lesion.at_threshold.*column.ratio)(), rare ? 5 : 4));
    }
  }
  std::vector<std::string>& row = rows.emplace_back(1, "mean");
  for (Protocol p : scores.protocols) row.push_back(Fixed(evaluation.pooled.MeanAupr(p), 4));
  for (const RatioColumn& column : kRatios) {
    const bool rare = column.ratio == &PointScore::Prevalence;
    row.push_back(Fixed(evaluation.pooled.Mean(column.ratio), rare ? 5 : 4));
  }
  return Align(rows);
}

std::string PerImageText(const Evaluation& evaluation) {
  const PrOptions& scores = evaluation.options.scores;
  std::vector<std::vector<std::string>> rows = {{"lesion"}};
  for (Protocol protocol : scores.protocols) rows[0].push_back(ToString(protocol));
  rows[0].insert(rows[0].end(), {"Dice", "images"});
  for (size_t c = 0; c < scores.lesions.size(); ++c) {
    std::vector<std::string>& row = rows.emplace_back(1, scores.lesions[c]);
    for (Protocol p : scores.protocols) row.push_back(Fixed(AuprPerImage(evaluation, c, p), 4));
    row.push_back(Fixed(DicePerImage(evaluation, c), 4));
    row.push_back(std::to_string(ImagesWith(evaluation, c)));
  }
  return "per image, mean over the images that have the lesion\n" + Align(rows);
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

std::string BaselineText(const Evaluation& evaluation) {
  std::vector<std::vector<std::string>> rows = {{"lesion", "best", "map"}};
  for (const char* map : kColourMaps) rows[0].push_back(map);
  for (size_t c = 0; c < evaluation.baseline.size(); ++c) {
    const ColourAreas& areas = evaluation.baseline[c];
    std::vector<std::string>& row = rows.emplace_back(1, evaluation.options.scores.lesions[c]);
    row.push_back(areas.best < 0 ? "-" : Fixed(areas.aupr[areas.best], 4));
    row.push_back(areas.best < 0 ? "-" : kColourMaps[areas.best]);
    for (const Value& value : areas.aupr) row.push_back(Fixed(value, 4));
  }
  return "colour baseline of " + std::to_string(evaluation.listed) + " images at " +
         evaluation.baseline_size + ": idrid33 AUPR of the colours taken as probabilities\n" +
         Align(rows);
}

Json ToJson(Value value) { return value ? Json(*value) : Json(nullptr); }

Json ProtocolJson(const Evaluation& evaluation, Protocol protocol) {
  const PrOptions& scores = evaluation.options.scores;
  Json json;
  std::vector<Value> per_image;
  for (size_t c = 0; c < scores.lesions.size(); ++c) {
    const LesionReport& lesion = evaluation.pooled.lesions[c];
    Json& of = json[scores.lesions[c]];
    of["aupr"] = ToJson(Aupr(lesion, protocol));
    for (const RatioColumn& column : kRatios) {
      of[column.json] = ToJson((lesion.at_threshold.*column.ratio)());
    }
    per_image.push_back(AuprPerImage(evaluation, c, protocol));
    of["aupr_per_image"] = ToJson(per_image.back());
  }
  Json& mean = json["mean"];
  mean["aupr"] = ToJson(evaluation.pooled.MeanAupr(protocol));
  for (const RatioColumn& column : kRatios) {
    mean[column.json] = ToJson(evaluation.pooled.Mean(column.ratio));
  }
  mean["aupr_per_image"] = ToJson(MeanOf(per_image));
  return json;
}

Json BaselineJson(const Evaluation& evaluation) {
  Json json;
  json["size"] = evaluation.baseline_size;
  for (size_t c = 0; c < evaluation.baseline.size(); ++c) {
    const ColourAreas& areas = evaluation.baseline[c];
    Json& of = json[evaluation.options.scores.lesions[c]];
    of["map"] = areas.best < 0 ? Json(nullptr) : Json(kColourMaps[areas.best]);
    of["aupr"] = areas.best < 0 ? Json(nullptr) : ToJson(areas.aupr[areas.best]);
    for (int map = 0; map < 6; ++map) of["maps"][kColourMaps[map]] = ToJson(areas.aupr[map]);
  }
  return json;
}

// A field of CSV by RFC 4180.
std::string CsvField(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == std::string::npos) return text;
  std::string field = "\"";
  for (char c : text) field += c == '"' ? std::string("\"\"") : std::string(1, c);
  return field + "\"";
}

std::string CsvNumber(Value value) {
  if (!value) return "";
  char text[32];
  std::snprintf(text, sizeof(text), "%.9g", *value);
  return text;
}

}  // namespace

std::string TableText(const Evaluation& evaluation) {
  std::string text;
  if (evaluation.kind != PredictionKind::kNone) {
    text = HeadText(evaluation) + "\n" + PooledText(evaluation);
    for (size_t c = 0; c < evaluation.pooled.lesions.size(); ++c) {
      const size_t annotated = ImagesAnnotated(evaluation, c);
      if (annotated == evaluation.images.size()) continue;
      const std::string& lesion = evaluation.options.scores.lesions[c];
      text += lesion +
              (annotated == 0 ? ": annotated in none of the images; left out of the mean"
                              : ": annotated in " + std::to_string(annotated) + " of " +
                                    std::to_string(evaluation.images.size()) +
                                    " images, and scored on those alone") +
              "\n";
    }
    for (const std::string& lesion : Absent(evaluation)) {
      text += lesion + ": no positive pixel in the truth, so no AUPR; left out of the mean\n";
    }
    text += "\n" + PerImageText(evaluation);
  }
  if (!evaluation.baseline.empty()) text += (text.empty() ? "" : "\n") + BaselineText(evaluation);
  return text;
}

std::string JsonText(const Evaluation& evaluation) {
  const EvaluationOptions& options = evaluation.options;
  Json json;
  if (evaluation.kind != PredictionKind::kNone) {
    for (Protocol protocol : options.scores.protocols) {
      json["protocols"][ToString(protocol)] = ProtocolJson(evaluation, protocol);
    }
  }
  json["images"] = evaluation.listed;
  if (evaluation.kind != PredictionKind::kNone) {
    json["resolution"] = SizeRange(evaluation.images);
    json["size_of"] = options.size_of_truth ? "truth" : "prediction";
    json["predictions"] = Describe(evaluation.kind);
    for (size_t c = 0; c < options.scores.lesions.size(); ++c) {
      json["thresholds"][options.scores.lesions[c]] =
          evaluation.kind == PredictionKind::kClassMap
              ? Json(nullptr)
              : Json(std::stod(Shortest(options.scores.thresholds[c])));
    }
    json["absent"] = Absent(evaluation);
    for (size_t c = 0; c < options.scores.lesions.size(); ++c) {
      json["annotated"][options.scores.lesions[c]] = ImagesAnnotated(evaluation, c);
    }
  }
  if (!evaluation.baseline.empty()) json["baseline"] = BaselineJson(evaluation);
  return json.dump(2) + "\n";
}

std::string CsvText(const Evaluation& evaluation) {
  const PrOptions& scores = evaluation.options.scores;
  std::string text = "image,width,height,lesion,positives";
  for (const RatioColumn& column : kRatios) text += std::string(",") + column.json;
  for (Protocol protocol : scores.protocols) text += ",aupr_" + ToString(protocol);
  text += "\n";
  for (const ImageScore& image : evaluation.images) {
    for (size_t c = 0; c < scores.lesions.size(); ++c) {
      const LesionReport& lesion = image.report.lesions[c];
      const PointScore& point = lesion.at_threshold;
      if (point.pixels == 0) continue;  // not annotated
      text += CsvField(image.name) + "," + std::to_string(image.width) + "," +
              std::to_string(image.height) + "," + CsvField(scores.lesions[c]) + "," +
              std::to_string(point.positives);
      for (const RatioColumn& column : kRatios) text += "," + CsvNumber((point.*column.ratio)());
      for (Protocol protocol : scores.protocols) text += "," + CsvNumber(Aupr(lesion, protocol));
      text += "\n";
    }
  }
  return text;
}

std::vector<Panel> CurvePanels(const Evaluation& evaluation) {
  const PrOptions& scores = evaluation.options.scores;
  std::vector<Panel> panels;
  for (Protocol protocol : scores.protocols) {
    Panel& panel = panels.emplace_back();
    panel.title = ToString(protocol) + ", " + std::to_string(evaluation.images.size()) +
                  " images at " + SizeRange(evaluation.images);
    panel.axes = {{"recall", 0, 1}, {"precision", 0, 1}};
    for (size_t c = 0; c < scores.lesions.size(); ++c) {
      const LesionReport& lesion = evaluation.pooled.lesions[c];
      Series& series = panel.series.emplace_back();
      const Value aupr = Aupr(lesion, protocol);
      const bool annotated = lesion.at_threshold.pixels > 0;
      series.name = scores.lesions[c] + (aupr        ? ", AUPR " + Fixed(aupr, 4)
                                         : annotated ? ", absent"
                                                     : ", not annotated");
      const auto found = lesion.curves.find(protocol);
      if (found == lesion.curves.end()) continue;
      for (const PrPoint& point : found->second.points) {
        series.x.push_back(point.recall);
        series.y.push_back(point.precision);
      }
    }
  }
  return panels;
}

}  // namespace lseg
