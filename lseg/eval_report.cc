// The tables aligned for a terminal, the images' scores as CSV, and the charts.
#include "lseg/eval_report.h"

#include <algorithm>
#include <cstdio>

#include "lseg/eval_tables.h"
#include "lseg/eval_values.h"

namespace lseg {
namespace {

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

std::string ToText(const Table& table) {
  std::string text = table.rows.empty() || table.title.empty() ? "" : table.title + "\n";
  text += Align(table.rows);
  for (const std::string& note : table.notes) text += note + "\n";
  return text;
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

// The panels of one figure have a line a lesion, of those lesions that have one.
Panel MakePanel(const Evaluation& evaluation, const std::string& title, Axes axes) {
  return {title + ", " + std::to_string(evaluation.images.size()) + " images at " +
              SizeRange(evaluation.images),
          std::move(axes),
          {}};
}

}  // namespace

std::string TableText(const Evaluation& evaluation) {
  std::vector<Table> tables;
  std::string text;
  if (evaluation.kind != PredictionKind::kNone) {
    for (const std::string& line : HeadLines(evaluation)) text += line + "\n";
    tables.push_back(PooledTable(evaluation));
    if (evaluation.statistics) tables.push_back(IntervalTable(evaluation));
    tables.push_back(PerImageTable(evaluation));
    if (evaluation.statistics) {
      tables.push_back(PointsTable(evaluation));
      tables.push_back(LesionsTable(evaluation));
    }
    if (evaluation.comparison) tables.push_back(ComparisonTable(evaluation, false));
  }
  if (!evaluation.baseline.empty()) tables.push_back(BaselineTable(evaluation));
  for (const Table& table : tables) {
    if (table.rows.empty() && table.notes.empty()) continue;
    text += (text.empty() ? "" : "\n") + ToText(table);
  }
  return text;
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
    Panel& panel = panels.emplace_back(
        MakePanel(evaluation, ToString(protocol), {{"recall", 0, 1}, {"precision", 0, 1}}));
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

Panel ReliabilityPanel(const Evaluation& evaluation) {
  Panel panel = MakePanel(evaluation, "reliability",
                          {{"mean probability", 0, 1}, {"share that is lesion", 0, 1}});
  panel.series.push_back({.name = "perfect", .x = {0, 1}, .y = {0, 1}, .style = 6, .faint = true});
  for (size_t c = 0; c < evaluation.statistics->pooled.size(); ++c) {
    Series& series = panel.series.emplace_back();
    const Value error = FigureOf(evaluation, c, "ece");
    series.name = evaluation.options.scores.lesions[c] + (error ? ", ECE " + Fixed(error, 5) : "");
    series.style = static_cast<int>(c);
    series.markers = true;
    for (const Reliability::Bin& bin : evaluation.statistics->pooled[c].reliability.bins) {
      if (bin.pixels == 0) continue;
      const auto pixels = static_cast<double>(bin.pixels);
      series.x.push_back(bin.probability / pixels);
      series.y.push_back(static_cast<double>(bin.positives) / pixels);
    }
  }
  return panel;
}

Panel FrocPanel(const Evaluation& evaluation) {
  Panel panel = MakePanel(evaluation, "FROC",
                          {{"false positives an image", {}, {}, true}, {"lesions found", 0, 1}});
  for (size_t c = 0; c < evaluation.statistics->pooled.size(); ++c) {
    const Detections& counts = evaluation.statistics->pooled[c].detections;
    Series& series = panel.series.emplace_back();
    const Value score = FigureOf(evaluation, c, "froc");
    series.name =
        evaluation.options.scores.lesions[c] + (score ? ", score " + Fixed(score, 4) : "");
    series.style = static_cast<int>(c);
    series.markers = true;
    if (counts.lesions == 0) continue;
    for (size_t t = 0; t < counts.thresholds.size(); ++t) {
      series.x.push_back(*counts.FalsePositives(t));
      series.y.push_back(*counts.Sensitivity(t));
    }
  }
  return panel;
}

}  // namespace lseg
