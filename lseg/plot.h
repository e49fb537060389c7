// Line charts as SVG, for precision-recall curves and for the course of a training: a small writer
// instead of a plotting tool, so that a picture needs nothing installed and repeats byte for byte.
//
// Colours are those of Okabe and Ito (https://jfly.uni-koeln.de/color/), which colour-blind readers
// tell apart; the lines of a panel are dashed differently as well, so that they survive gray print.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace lseg {

struct Axis {
  std::string label;
  // Where an end is not given it follows from the data: rounded outwards to a tick on a linear
  // axis.
  std::optional<double> min = std::nullopt, max = std::nullopt;
  bool log = false;  // base 10; points at or below 0 are left out
};

struct Series {
  std::string name;  // for the legend; a series without a name is drawn but not listed
  // Of equal length; a NaN or infinite value interrupts the line.
  std::vector<double> x = {};
  std::vector<double> y = {};
  // Colour and dashes, the same for the same number; otherwise the series' own place in its panel.
  std::optional<int> style = std::nullopt;
  bool faint = false;    // thin, pale and undashed: raw values behind a smoothed line
  bool markers = false;  // a dot on every point, for few points
};

struct Axes {
  Axis x, y;
};

struct Panel {
  std::string title;
  Axes axes;
  std::vector<Series> series;
};

// Writes one chart. An Error names the path where it cannot be written, and the series where x and
// y have different lengths. Points that the picture cannot resolve are merged, keeping every peak,
// so that the file stays small for a million points.
void WriteLineChart(const std::string& path, const std::string& title, const Axes& axes,
                    const std::vector<Series>& series);

// Writes several charts below one another as one picture, for instance loss and AUPR.
void WriteLineCharts(const std::string& path, const std::vector<Panel>& panels);

// The SVG text itself.
std::string LineChartsSvg(const std::vector<Panel>& panels);

}  // namespace lseg
