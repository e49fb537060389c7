// Rows are appended and flushed one by one: whatever ends the process, the rows before are there.
#include "lseg/train_log.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>
#include <limits>
#include <sstream>

#include "framework/file.h"
#include "framework/text.h"
#include "kernels/runtime/check.h"
#include "lseg/plot.h"

namespace lseg {
namespace {

constexpr size_t kSmoothed = 100;  // iterations
// The line of means starts here: means of fewer jump with each crop, over decades of the axis.
constexpr size_t kFewest = 20;

// Shortest text that reads back as the same number.
template <typename T>
std::string Text(T value) {
  char text[40];
  return {text, std::to_chars(text, text + sizeof(text), value).ptr};
}

std::string Text(std::optional<double> value) { return value ? Text(*value) : ""; }

double NumberOf(const std::string& cell) {
  double value = std::numeric_limits<double>::quiet_NaN();
  std::from_chars(cell.data(), cell.data() + cell.size(), value);
  return value;
}

// Keeps the rows up to an iteration, and returns them as numbers; writes the header.
std::vector<std::vector<double>> KeepRows(const std::string& path, const std::string& header,
                                          int64_t last) {
  const size_t columns = SplitAtCommas(header).size();
  std::string kept = header + "\n";
  std::vector<std::vector<double>> rows;
  std::istringstream lines(last > 0 ? ReadFile(path) : "");
  std::string line;
  std::getline(lines, line);
  LSEG_CHECK(last == 0 || line == header,
             path << ": its columns are '" << line << "', not '" << header << "'");
  while (std::getline(lines, line)) {
    std::vector<double> row;
    for (const std::string& cell : SplitAtCommas(line)) row.push_back(NumberOf(cell));
    if (row.size() != columns || !(row[0] <= static_cast<double>(last))) break;
    rows.push_back(std::move(row));
    kept += line + "\n";
  }
  WriteFile(path, kept);
  return rows;
}

std::string StepColumns(const std::vector<std::string>& losses) {
  std::vector<std::string> columns = {"iteration", "loss", "lr", "images_per_second"};
  for (std::string loss : losses) {
    while (std::find(columns.begin(), columns.end(), loss) != columns.end()) loss += "_top";
    columns.push_back(loss);
  }
  return Join(columns, ",");
}

void Append(const std::string& path, const std::string& row) {
  std::ofstream file(path, std::ios::app);
  file << row << "\n" << std::flush;
  LSEG_CHECK(file.good(), path << ": cannot be written");
}

// Mean of the last values at each place.
std::vector<double> Smooth(const std::vector<double>& values) {
  std::vector<double> means;
  double sum = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    sum += values[i] - (i >= kSmoothed ? values[i - kSmoothed] : 0);
    means.push_back(sum / static_cast<double>(std::min(i + 1, kSmoothed)));
  }
  return means;
}

}  // namespace

TrainLog::TrainLog(const std::string& folder, const std::vector<std::string>& losses,
                   const std::vector<std::string>& classes, int64_t resumed_at)
    : folder_(folder),
      classes_(classes),
      steps_path_(folder + "/log.csv"),
      validations_path_(folder + "/val.csv"),
      aupr_(classes.size() + 1) {
  std::string header = StepColumns(losses);
  for (const std::vector<double>& row : KeepRows(steps_path_, header, resumed_at)) {
    step_iterations_.push_back(row[0]);
    step_losses_.push_back(row[1]);
  }
  if (classes.empty()) return;
  header = "iteration";
  for (const std::string& name : classes) header += "," + name;
  header += ",mean";
  for (const std::vector<double>& row : KeepRows(validations_path_, header, resumed_at)) {
    validation_iterations_.push_back(row[0]);
    for (size_t c = 0; c < aupr_.size(); ++c) aupr_[c].push_back(row[c + 1]);
  }
}

void TrainLog::AddStep(int64_t iteration, double loss, float learning_rate,
                       double images_per_second, const std::vector<float>& losses) {
  std::string row = Text(iteration) + "," + Text(loss) + "," + Text(learning_rate) + "," +
                    Text(std::round(images_per_second * 1e4) / 1e4);
  for (const float value : losses) row += "," + Text(value);
  Append(steps_path_, row);
  step_iterations_.push_back(static_cast<double>(iteration));
  step_losses_.push_back(loss);
}

void TrainLog::AddValidation(int64_t iteration, const std::vector<std::optional<double>>& aupr,
                             std::optional<double> mean) {
  std::string row = Text(iteration);
  for (size_t c = 0; c <= aupr.size(); ++c) {
    const std::optional<double> value = c < aupr.size() ? aupr[c] : mean;
    row += "," + Text(value);
    aupr_[c].push_back(value.value_or(std::numeric_limits<double>::quiet_NaN()));
  }
  Append(validations_path_, row);
  validation_iterations_.push_back(static_cast<double>(iteration));
}

void TrainLog::WriteCurves() const {
  Axis iterations{"iteration", 0.0};
  if (!step_iterations_.empty()) iterations.max = step_iterations_.back();
  Panel loss{"Loss", {iterations, {"loss", {}, {}, true}}, {}};
  // Crops without lesions have loss 0, which a logarithmic axis cannot show.
  Series raw{.name = "each iteration", .style = 0, .faint = true};
  for (size_t i = 0; i < step_losses_.size(); ++i) {
    if (step_losses_[i] == 0) continue;
    raw.x.push_back(step_iterations_[i]);
    raw.y.push_back(step_losses_[i]);
  }
  loss.series.push_back(std::move(raw));
  Series smooth{.name = "mean of the last " + std::to_string(kSmoothed), .style = 0};
  const std::vector<double> means = Smooth(step_losses_);
  for (size_t i = kFewest - 1; i < means.size(); ++i) {
    smooth.x.push_back(step_iterations_[i]);
    smooth.y.push_back(means[i]);
  }
  if (!smooth.x.empty()) loss.series.push_back(std::move(smooth));
  std::vector<Panel> panels = {std::move(loss)};
  if (!validation_iterations_.empty()) {
    Panel aupr{"Validation, idrid33", {iterations, {"AUPR", 0.0, 1.0}}, {}};
    for (size_t c = 0; c < aupr_.size(); ++c) {
      const bool mean = c == classes_.size();
      aupr.series.push_back({.name = mean ? "mean" : classes_[c],
                             .x = validation_iterations_,
                             .y = aupr_[c],
                             .style = mean ? 6 : static_cast<int>(c),
                             .markers = true});
    }
    panels.push_back(std::move(aupr));
  }
  WriteLineCharts(folder_ + "/curves.svg", panels);
}

}  // namespace lseg
