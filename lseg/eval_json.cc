// An evaluation as JSON: what the tables say, and the counts behind the charts.
#include <nlohmann/json.hpp>

#include "lseg/eval_report.h"
#include "lseg/eval_values.h"

namespace lseg {
namespace {

using Json = nlohmann::ordered_json;

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

// A float's shortest text, not the digits of its double.
Json ThresholdJson(std::optional<float> threshold) {
  return threshold ? Json(std::stod(ThresholdText(threshold))) : Json(nullptr);
}

void PutInterval(const std::optional<Interval>& interval, Json* json) {
  (*json)["low"] = interval ? Json(interval->low) : Json(nullptr);
  (*json)["high"] = interval ? Json(interval->high) : Json(nullptr);
}

// A lesion's name, or "mean".
std::string RowName(const Evaluation& evaluation, size_t row) {
  const auto& lesions = evaluation.options.scores.lesions;
  return row < lesions.size() ? lesions[row] : "mean";
}

Json PointsJson(const Evaluation& evaluation, size_t lesion) {
  const Statistics& statistics = *evaluation.statistics;
  Json json = Json::object();
  for (size_t t = 0; t < statistics.points[lesion].size(); ++t) {
    const OperatingPoint& point = statistics.points[lesion][t];
    Json& of = json[statistics.options.targets[t].Name()];
    of["threshold"] = ThresholdJson(point.threshold);
    of["dice"] = ToJson(point.score.Dice());
    of["precision"] = ToJson(point.score.Precision());
    of["recall"] = ToJson(point.score.Recall());
  }
  return json;
}

Json CalibrationJson(const Evaluation& evaluation, size_t lesion) {
  const Reliability& reliability = evaluation.statistics->pooled[lesion].reliability;
  Json json;
  json["ece"] = ToJson(reliability.ExpectedCalibrationError());
  for (const Reliability::Bin& bin : reliability.bins) {
    Json of;
    of["pixels"] = bin.pixels;
    of["positives"] = bin.positives;
    of["mean_probability"] =
        bin.pixels > 0 ? Json(bin.probability / static_cast<double>(bin.pixels)) : Json(nullptr);
    json["bins"].push_back(std::move(of));
  }
  return json;
}

Json FrocJson(const Evaluation& evaluation, size_t lesion) {
  const Detections& counts = evaluation.statistics->pooled[lesion].detections;
  Json json;
  json["lesions"] = counts.lesions;
  json["images"] = counts.images;
  json["points"] = Json::array();
  for (size_t t = 0; t < counts.thresholds.size(); ++t) {
    Json of;
    of["threshold"] = ThresholdJson(counts.thresholds[t]);
    of["sensitivity"] = ToJson(counts.Sensitivity(t));
    of["false_positives_per_image"] = ToJson(counts.FalsePositives(t));
    json["points"].push_back(std::move(of));
  }
  return json;
}

Json StatisticsJson(const Evaluation& evaluation) {
  const Statistics& statistics = *evaluation.statistics;
  const bool class_map = evaluation.kind == PredictionKind::kClassMap;
  Json json;
  json["resamples"] = statistics.options.resamples;
  json["seed"] = statistics.options.seed;
  for (size_t row = 0; row < statistics.figures.size(); ++row) {
    Json& of = json["figures"][RowName(evaluation, row)] = Json::object();
    for (const auto& [name, value] : statistics.figures[row]) {
      of[name]["value"] = value;
      const auto interval = IntervalOf(evaluation, row, name);
      PutInterval(interval, &of[name]);
      of[name]["resamples"] = interval ? interval->resamples : 0;
    }
  }
  for (size_t c = 0; c < statistics.pooled.size(); ++c) {
    const std::string lesion = RowName(evaluation, c);
    if (!class_map) json["operating_points"][lesion] = PointsJson(evaluation, c);
    if (!class_map) json["calibration"][lesion] = CalibrationJson(evaluation, c);
    json["froc"][lesion] = FrocJson(evaluation, c);
  }
  return json;
}

Json VersusJson(const Evaluation& evaluation) {
  const Comparison& comparison = *evaluation.comparison;
  Json json;
  json["folder"] = comparison.folder;
  for (size_t row = 0; row < comparison.figures.size(); ++row) {
    Json& of = json["figures"][RowName(evaluation, row)] = Json::object();
    for (const auto& [name, difference] : comparison.figures[row]) {
      Json& figure = of[name];
      figure["value"] = difference.value;
      figure["other"] = difference.other;
      figure["difference"] = difference.value - difference.other;
      PutInterval(difference.interval, &figure);
      figure["p"] = ToJson(difference.p);
    }
  }
  return json;
}

}  // namespace

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
  if (evaluation.statistics) json["statistics"] = StatisticsJson(evaluation);
  if (evaluation.comparison) json["versus"] = VersusJson(evaluation);
  if (!evaluation.baseline.empty()) json["baseline"] = BaselineJson(evaluation);
  return json.dump(2) + "\n";
}

}  // namespace lseg
