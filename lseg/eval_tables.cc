// Everything here reads an Evaluation; nothing is counted, only averaged over images.
#include "lseg/eval_tables.h"

#include <algorithm>

#include "lseg/eval_values.h"

namespace lseg {
namespace {

struct Column {
  std::string title, figure;  // as Figures names it
  int digits = 4;
};

std::vector<Column> PooledColumns(const Evaluation& evaluation) {
  std::vector<Column> columns;
  for (Protocol protocol : evaluation.options.scores.protocols) {
    columns.push_back({ToString(protocol), ToString(protocol) + ".aupr"});
  }
  for (const RatioColumn& ratio : kRatios) {
    columns.push_back({ratio.title, ratio.json, ratio.ratio == &PointScore::Prevalence ? 5 : 4});
  }
  return columns;
}

bool HasIntervals(const Evaluation& evaluation) {
  return evaluation.statistics && evaluation.images.size() > 1 &&
         evaluation.statistics->options.resamples > 0;
}

// The lesions, and last "mean".
std::vector<std::string> RowNames(const Evaluation& evaluation) {
  std::vector<std::string> names = evaluation.options.scores.lesions;
  names.push_back("mean");
  return names;
}

// A figure, and behind it its interval where there are any.
void AddHeadings(const Evaluation& evaluation, const std::vector<Column>& columns,
                 std::vector<std::string>* row) {
  for (const Column& column : columns) {
    row->push_back(column.title);
    if (HasIntervals(evaluation)) row->push_back("95 %");
  }
}

void AddFigures(const Evaluation& evaluation, size_t lesion, const std::vector<Column>& columns,
                std::vector<std::string>* row) {
  for (const Column& column : columns) {
    row->push_back(Fixed(FigureOf(evaluation, lesion, column.figure), column.digits));
    if (!HasIntervals(evaluation)) continue;
    row->push_back(Fixed(IntervalOf(evaluation, lesion, column.figure), column.digits - 1));
  }
}

std::vector<std::string> IntervalNotes(const Evaluation& evaluation) {
  const Statistics& statistics = *evaluation.statistics;
  std::vector<std::string> notes;
  for (size_t row = 0; row < statistics.intervals.size(); ++row) {
    const auto interval = IntervalOf(evaluation, row, "dice");
    if (!interval || interval->resamples == statistics.options.resamples) continue;
    notes.push_back(RowNames(evaluation)[row] + ": from the " +
                    std::to_string(interval->resamples) + " resamples that have " +
                    (row + 1 < statistics.intervals.size() ? "the lesion" : "all of the lesions"));
  }
  const auto& protocols = evaluation.options.scores.protocols;
  if (evaluation.kind != PredictionKind::kClassMap &&
      std::count(protocols.begin(), protocols.end(), Protocol::kExact) > 0) {
    notes.push_back("exact: resampled on " + std::to_string(kFineClasses) +
                    " classes of probability, whose areas of all images differ from the exact "
                    "ones by " +
                    Fixed(Value(statistics.exact_error), 5) + " at most");
  }
  return notes;
}

}  // namespace

std::vector<std::string> HeadLines(const Evaluation& evaluation) {
  const EvaluationOptions& options = evaluation.options;
  std::vector<std::string> lines = {
      std::to_string(evaluation.images.size()) + " images of " + options.truth_list +
          ", predictions (" + Describe(evaluation.kind) + ") in " + evaluation.Folder(),
      "at " + SizeRange(evaluation.images) + ", the " +
          (options.size_of_truth ? "truth" : "prediction") + "'s size; pooled over " +
          std::to_string(Pixels(evaluation)) + " pixels"};
  if (evaluation.kind == PredictionKind::kClassMap) {
    lines.push_back("AUPR has no value: class maps have one point, not a curve");
    return lines;
  }
  for (Protocol protocol : options.scores.protocols) lines.push_back(Describe(protocol));
  lines.push_back("Dice to recall: where the probability is at least " +
                  ThresholdsText(options.scores));
  return lines;
}

Table PooledTable(const Evaluation& evaluation) {
  const PrOptions& scores = evaluation.options.scores;
  Table table{"", {{"lesion"}}, {}};
  for (const Column& column : PooledColumns(evaluation)) table.rows[0].push_back(column.title);
  const auto digits = [](const RatioColumn& column) {
    return column.ratio == &PointScore::Prevalence ? 5 : 4;
  };
  for (size_t c = 0; c < scores.lesions.size(); ++c) {
    const LesionReport& lesion = evaluation.pooled.lesions[c];
    std::vector<std::string>& row = table.rows.emplace_back(1, scores.lesions[c]);
    for (Protocol protocol : scores.protocols) row.push_back(Fixed(Aupr(lesion, protocol), 4));
    for (const RatioColumn& column : kRatios) {
      row.push_back(Fixed((lesion.at_threshold.*column.ratio)(), digits(column)));
    }
    const size_t annotated = ImagesAnnotated(evaluation, c), all = evaluation.images.size();
    if (annotated == all) continue;
    table.notes.push_back(scores.lesions[c] + ": annotated in " +
                          (annotated == 0
                               ? "none of the images; left out of the mean"
                               : std::to_string(annotated) + " of " + std::to_string(all) +
                                     " images, and scored on those alone"));
  }
  std::vector<std::string>& row = table.rows.emplace_back(1, "mean");
  for (Protocol p : scores.protocols) row.push_back(Fixed(evaluation.pooled.MeanAupr(p), 4));
  for (const RatioColumn& column : kRatios) {
    row.push_back(Fixed(evaluation.pooled.Mean(column.ratio), digits(column)));
  }
  for (const std::string& lesion : Absent(evaluation)) {
    table.notes.push_back(lesion +
                          ": no positive pixel in the truth, so no AUPR; left out of the mean");
  }
  return table;
}

Table PerImageTable(const Evaluation& evaluation) {
  const PrOptions& scores = evaluation.options.scores;
  Table table{"per image, mean over the images that have the lesion", {{"lesion"}}, {}};
  const bool intervals = HasIntervals(evaluation);
  for (Protocol protocol : scores.protocols) {
    table.rows[0].push_back(ToString(protocol));
    if (intervals) table.rows[0].push_back("95 %");
  }
  table.rows[0].push_back("Dice");
  if (intervals) table.rows[0].push_back("95 %");
  table.rows[0].push_back("images");
  for (size_t c = 0; c < scores.lesions.size(); ++c) {
    std::vector<std::string>& row = table.rows.emplace_back(1, scores.lesions[c]);
    for (Protocol p : scores.protocols) {
      row.push_back(Fixed(AuprPerImage(evaluation, c, p), 4));
      if (!intervals) continue;
      row.push_back(Fixed(IntervalOf(evaluation, c, ToString(p) + ".aupr_per_image"), 3));
    }
    row.push_back(Fixed(DicePerImage(evaluation, c), 4));
    if (intervals) row.push_back(Fixed(IntervalOf(evaluation, c, "dice_per_image"), 3));
    row.push_back(std::to_string(ImagesWith(evaluation, c)));
  }
  return table;
}

Table IntervalTable(const Evaluation& evaluation) {
  const StatisticsOptions& options = evaluation.statistics->options;
  if (!HasIntervals(evaluation)) {
    const bool wanted = options.resamples > 0 && !evaluation.images.empty();
    return {"",
            {},
            wanted ? std::vector<std::string>{"no intervals: they need two images"}
                   : std::vector<std::string>{}};
  }
  Table table{"95 % intervals of these, by bootstrap over the " +
                  std::to_string(evaluation.images.size()) +
                  " images: " + std::to_string(options.resamples) + " resamples, seed " +
                  std::to_string(options.seed),
              {{"lesion"}},
              IntervalNotes(evaluation)};
  const std::vector<Column> columns = PooledColumns(evaluation);
  for (const Column& column : columns) table.rows[0].push_back(column.title);
  const std::vector<std::string> names = RowNames(evaluation);
  for (size_t row = 0; row < names.size(); ++row) {
    std::vector<std::string>& cells = table.rows.emplace_back(1, names[row]);
    for (const Column& column : columns) {
      cells.push_back(Fixed(IntervalOf(evaluation, row, column.figure), column.digits - 1));
    }
  }
  return table;
}

Table PointsTable(const Evaluation& evaluation) {
  const Statistics& statistics = *evaluation.statistics;
  Table table{"thresholds chosen by the truth of these images: for use on others", {}, {}};
  if (evaluation.kind == PredictionKind::kClassMap) return table;
  table.rows = {{"lesion", "for", "threshold"}};
  const auto columns = [](const std::string& target) {
    return std::vector<Column>{{"Dice", target + ".dice"},
                               {"precision", target + ".precision"},
                               {"recall", target + ".recall"}};
  };
  AddHeadings(evaluation, columns(""), &table.rows[0]);
  const std::vector<std::string> names = RowNames(evaluation);
  for (size_t t = 0; t < statistics.options.targets.size(); ++t) {
    const std::string target = statistics.options.targets[t].Name();
    for (size_t row = 0; row < names.size(); ++row) {
      const bool mean = row == statistics.points.size();
      std::vector<std::string>& cells = table.rows.emplace_back(1, names[row]);
      cells.push_back(target);
      cells.push_back(mean ? "" : ThresholdText(statistics.points[row][t].threshold));
      AddFigures(evaluation, row, columns(target), &cells);
    }
  }
  return table;
}

Table LesionsTable(const Evaluation& evaluation) {
  const bool class_map = evaluation.kind == PredictionKind::kClassMap;
  Table table{class_map ? "single lesions found, and false positives an image"
                        : "calibration (ECE), and single lesions found (FROC)",
              {{"lesion"}},
              {}};
  const std::vector<Column> columns =
      class_map ? std::vector<Column>{{"found", "sensitivity"},
                                      {"false positives", "false_positives_per_image"}}
                : std::vector<Column>{{"ECE", "ece", 5}, {"FROC", "froc"}};
  AddHeadings(evaluation, columns, &table.rows[0]);
  table.rows[0].push_back("lesions");
  const std::vector<std::string> names = RowNames(evaluation);
  for (size_t row = 0; row < names.size(); ++row) {
    std::vector<std::string>& cells = table.rows.emplace_back(1, names[row]);
    AddFigures(evaluation, row, columns, &cells);
    if (row == evaluation.statistics->pooled.size()) continue;
    cells.push_back(std::to_string(evaluation.statistics->pooled[row].detections.lesions));
  }
  if (!class_map) {
    table.notes.push_back("ECE: mean distance of probability and share of lesion, " +
                          std::to_string(kReliabilityBins) + " bins, over all pixels");
    table.notes.push_back(
        "FROC: share of the lesions found with at most 1/8, 1/4, 1/2, 1, 2, 4, 8 false positives "
        "an image, mean");
  }
  table.notes.push_back(
      "a lesion (8-connected) is found where the prediction overlaps it; a predicted one that "
      "overlaps none is a false positive");
  return table;
}

Table ComparisonTable(const Evaluation& evaluation, bool all) {
  const Comparison& comparison = *evaluation.comparison;
  Table table{"this against " + comparison.folder + ", paired: both on the same resamples",
              {{"lesion", "figure", "this", "other", "difference", "95 %", "p"}},
              {}};
  const std::vector<std::string> names = RowNames(evaluation);
  for (size_t row = 0; row < names.size(); ++row) {
    for (const auto& [name, of] : comparison.figures[row]) {
      const bool shown = all || name == "dice" || name == "froc" || name.ends_with(".aupr") ||
                         name == "sensitivity";
      if (!shown) continue;
      const int digits = name == "ece" ? 5 : 4;
      table.rows.push_back(
          {names[row], name, Fixed(Value(of.value), digits), Fixed(Value(of.other), digits),
           Fixed(Value(of.value - of.other), digits), Fixed(of.interval, digits), Fixed(of.p, 3)});
    }
  }
  table.notes.push_back(
      HasIntervals(evaluation)
          ? "p: two-sided, by the bootstrap; not corrected for the number of comparisons"
          : "no intervals: they need two images, and --resamples above 0");
  return table;
}

Table BaselineTable(const Evaluation& evaluation) {
  Table table{"colour baseline of " + std::to_string(evaluation.listed) + " images at " +
                  evaluation.baseline_size + ": idrid33 AUPR of the colours taken as probabilities",
              {{"lesion", "best", "map"}},
              {}};
  for (const char* map : kColourMaps) table.rows[0].push_back(map);
  for (size_t c = 0; c < evaluation.baseline.size(); ++c) {
    const ColourAreas& areas = evaluation.baseline[c];
    std::vector<std::string>& row =
        table.rows.emplace_back(1, evaluation.options.scores.lesions[c]);
    row.push_back(areas.best < 0 ? "-" : Fixed(areas.aupr[areas.best], 4));
    row.push_back(areas.best < 0 ? "-" : kColourMaps[areas.best]);
    for (const Value& value : areas.aupr) row.push_back(Fixed(value, 4));
  }
  return table;
}

}  // namespace lseg
