// Every panel is 800 x 400 units: title, plotting area with grid and ticks, legend at its right.
#include "lseg/plot.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

constexpr double kWidth = 800, kHeight = 400;
constexpr double kLeft = 78, kRight = 600, kTop = 44, kBottom = 344;  // the plotting area

struct LineStyle {
  const char* color;
  const char* pale;    // a third of it on white: simple viewers know no opacity
  const char* dashes;  // SVG stroke-dasharray
};
// Okabe and Ito's colours in an order of falling contrast with white; yellow is too pale for a
// line.
constexpr std::array<LineStyle, 7> kStyles = {{{"#0072B2", "#A6CEE4", "none"},
                                               {"#D55E00", "#F0C7A6", "9 3"},
                                               {"#009E73", "#A6DDCE", "3 3"},
                                               {"#CC79A7", "#EDD0E0", "9 3 2 3"},
                                               {"#E69F00", "#F6DDA6", "14 4"},
                                               {"#56B4E9", "#C4E5F7", "5 5"},
                                               {"#000000", "#A6A6A6", "2 5"}}};

std::string Escape(const std::string& text) {
  std::string out;
  for (char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:  // control characters are not allowed in XML at all
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

// The shortest text of up to `digits` significant digits, whatever the locale.
std::string Number(double value, int digits) {
  char text[32];
  const auto end =
      std::to_chars(text, text + sizeof(text), value, std::chars_format::general, digits);
  return std::string(text, end.ptr);
}

// A coordinate: a tenth of a unit is finer than a screen shows.
std::string Place(double value) {
  value = std::clamp(value, -1e5, 1e5);
  return Number(std::round(value * 10) / 10 + 0.0, 7);
}

// An axis with its ends settled, and the way from values to places.
struct Scale {
  double low = 0, high = 1;  // values, or their logarithms
  double from = 0, to = 1;   // places
  bool log = false;
  double step = 0.2;  // between ticks

  bool Shows(double value) const { return std::isfinite(value) && (!log || value > 0); }
  double At(double value) const {
    const double v = log ? std::log10(value) : value;
    return from + (v - low) / (high - low) * (to - from);
  }
};

// 1, 2 or 5 times a power of ten: about `count` steps over the span.
double NiceStep(double span, int count) {
  const double raw = span / count;
  const double power = std::pow(10.0, std::floor(std::log10(raw)));
  for (double factor : {1.0, 2.0, 5.0}) {
    if (factor * power >= raw * 0.999) return factor * power;
  }
  return 10 * power;
}

Scale MakeScale(const Axis& axis, const std::vector<Series>& series, bool is_x, double from,
                double to) {
  Scale scale{.from = from, .to = to, .log = axis.log};
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const Series& s : series) {
    for (double value : is_x ? s.x : s.y) {
      if (!scale.Shows(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  if (low > high) low = axis.log ? 0.1 : 0, high = 1;
  if (axis.min && scale.Shows(*axis.min)) low = *axis.min;
  if (axis.max && scale.Shows(*axis.max)) high = *axis.max;
  if (axis.log) low = std::log10(low), high = std::log10(high);
  if (!(high > low)) {  // one value: some room on both sides of it
    const double room = axis.log ? 0.5 : std::max(std::abs(low) * 0.1, 1e-9);
    low -= room, high = low + 2 * room;
  }
  scale.step = axis.log ? 1 : NiceStep(high - low, is_x ? 6 : 5);
  if (!axis.log) {
    if (!axis.min) low = std::floor(low / scale.step + 1e-9) * scale.step;
    if (!axis.max) high = std::ceil(high / scale.step - 1e-9) * scale.step;
  }
  scale.low = low, scale.high = high;
  return scale;
}

struct Tick {
  double value;
  std::string label;  // empty: a line without a number
};

std::vector<Tick> LogTicks(const Scale& scale) {
  const double decades = scale.high - scale.low;
  // Wide axes number every decade or every few; narrow ones number 2 and 5 as well.
  const int every = std::max(1, static_cast<int>(std::ceil(decades / 7)));
  std::vector<Tick> ticks;
  for (int e = static_cast<int>(std::floor(scale.low)); e <= std::ceil(scale.high); ++e) {
    for (int digit = 1; digit < 10; ++digit) {
      if (digit > 1 && decades > 4) break;
      const double value = digit * std::pow(10.0, e), v = std::log10(value);
      if (v < scale.low - 1e-9 || v > scale.high + 1e-9) continue;
      const bool numbered = digit == 1
                                ? e % every == 0
                                : decades < 0.8 || (decades < 2 && (digit == 2 || digit == 5));
      ticks.push_back({value, numbered ? Number(value, 6) : ""});
    }
  }
  return ticks;
}

std::vector<Tick> LinearTicks(const Scale& scale) {
  std::vector<Tick> ticks;
  for (double i = std::ceil(scale.low / scale.step - 1e-9);
       i * scale.step <= scale.high + scale.step * 1e-9; ++i) {
    ticks.push_back({i * scale.step, Number(i == 0 ? 0 : i * scale.step, 6)});
  }
  return ticks;
}

std::string Text(double x, double y, const char* attributes, const std::string& text) {
  return "<text x=\"" + Place(x) + "\" y=\"" + Place(y) + "\" " + attributes + ">" + Escape(text) +
         "</text>\n";
}

std::string Line(double x1, double y1, double x2, double y2, const std::string& attributes) {
  return "<line x1=\"" + Place(x1) + "\" y1=\"" + Place(y1) + "\" x2=\"" + Place(x2) + "\" y2=\"" +
         Place(y2) + "\" " + attributes + "/>\n";
}

const LineStyle& StyleOf(const Series& series, size_t index) {
  const size_t number = static_cast<size_t>(series.style.value_or(static_cast<int>(index)));
  return kStyles[number % kStyles.size()];
}

std::string Stroke(const Series& series, size_t index) {
  const LineStyle& style = StyleOf(series, index);
  if (series.faint) return "stroke=\"" + std::string(style.pale) + "\" stroke-width=\"1\"";
  return "stroke=\"" + std::string(style.color) + "\" stroke-width=\"2\" stroke-dasharray=\"" +
         style.dashes + "\"";
}

std::string AxesSvg(const Panel& panel, const Scale& x, const Scale& y) {
  std::string svg;
  for (const Tick& tick : x.log ? LogTicks(x) : LinearTicks(x)) {
    const double at = x.At(tick.value);
    svg += Line(at, kTop, at, kBottom, "class=\"grid\"");
    svg += Text(at, kBottom + 18, "class=\"tick\" text-anchor=\"middle\"", tick.label);
  }
  for (const Tick& tick : y.log ? LogTicks(y) : LinearTicks(y)) {
    const double at = y.At(tick.value);
    svg += Line(kLeft, at, kRight, at, "class=\"grid\"");
    svg += Text(kLeft - 8, at + 4, "class=\"tick\" text-anchor=\"end\"", tick.label);
  }
  svg += Line(kLeft, kBottom, kRight, kBottom, "class=\"axis\"");
  svg += Line(kLeft, kTop, kLeft, kBottom, "class=\"axis\"");
  const double middle_x = (kLeft + kRight) / 2, middle_y = (kTop + kBottom) / 2;
  svg += Text(middle_x, 24, "class=\"title\" text-anchor=\"middle\"", panel.title);
  svg += Text(middle_x, kBottom + 40, "text-anchor=\"middle\"", panel.axes.x.label);
  const std::string turn =
      "text-anchor=\"middle\" transform=\"translate(18 " + Place(middle_y) + ") rotate(-90)\"";
  return svg + Text(0, 0, turn.c_str(), panel.axes.y.label);
}

struct Point {
  double x, y;
  bool operator==(const Point&) const = default;
};
using Stretch = std::vector<Point>;

bool Inside(const Point& point) {
  return point.x >= kLeft && point.x <= kRight && point.y >= kTop && point.y <= kBottom;
}

// Cuts the line from a to b to the plotting area; false where nothing is left (Liang and Barsky, "A
// new concept and method for line clipping", 1984). Done here since simple viewers know no
// clipPath.
bool CutToArea(Point* a, Point* b) {
  const double dx = b->x - a->x, dy = b->y - a->y;
  const double towards[] = {-dx, dx, -dy, dy};
  const double room[] = {a->x - kLeft, kRight - a->x, a->y - kTop, kBottom - a->y};
  double begin = 0, end = 1;
  for (int side = 0; side < 4; ++side) {
    if (towards[side] == 0 && room[side] < 0) return false;
    if (towards[side] < 0) begin = std::max(begin, room[side] / towards[side]);
    if (towards[side] > 0) end = std::min(end, room[side] / towards[side]);
  }
  if (begin > end) return false;
  const Point from = *a;
  if (end < 1) *b = {from.x + end * dx, from.y + end * dy};
  if (begin > 0) *a = {from.x + begin * dx, from.y + begin * dy};
  return true;
}

// What of a stretch lies in the plotting area.
std::vector<Stretch> Cut(const Stretch& stretch) {
  if (std::all_of(stretch.begin(), stretch.end(), Inside)) return {stretch};
  std::vector<Stretch> parts;
  for (size_t i = 1; i < stretch.size(); ++i) {
    Point a = stretch[i - 1], b = stretch[i];
    if (!CutToArea(&a, &b)) continue;
    if (parts.empty() || parts.back().back() != a) parts.push_back({a});
    parts.back().push_back(b);
  }
  return parts;
}

// The unbroken stretches of a line, in places. Where more than four points of a stretch share a
// column half a unit wide, its first, lowest, highest and last are kept, in their order.
std::vector<Stretch> Stretches(const Series& series, const Scale& x, const Scale& y) {
  std::vector<Stretch> stretches;
  Stretch column;
  const auto flush = [&] {
    if (column.size() > 4) {
      const auto [low, high] = std::minmax_element(
          column.begin(), column.end(), [](const Point& a, const Point& b) { return a.y < b.y; });
      const auto [early, late] = std::minmax(low, high);
      column = {column.front(), *early, *late, column.back()};
    }
    for (const Point& point : column) stretches.back().push_back(point);
    column.clear();
  };
  bool open = false;
  for (size_t i = 0; i < series.x.size(); ++i) {
    const bool shown = x.Shows(series.x[i]) && y.Shows(series.y[i]);
    if (!shown || !open) flush();
    if (shown && !open) stretches.emplace_back();
    open = shown;
    if (!shown) continue;
    const Point point{x.At(series.x[i]), y.At(series.y[i])};
    if (!column.empty() && std::floor(2 * column.front().x) != std::floor(2 * point.x)) flush();
    column.push_back(point);
  }
  flush();
  return stretches;
}

std::string SeriesSvg(const Series& series, size_t index, const Scale& x, const Scale& y) {
  LSEG_CHECK(series.x.size() == series.y.size(),
             "chart series '" << series.name << "' has " << series.x.size() << " x and "
                              << series.y.size() << " y: one y a x is drawn");
  const std::string stroke = Stroke(series, index), color = StyleOf(series, index).color;
  std::string svg;
  for (const Stretch& stretch : Stretches(series, x, y)) {
    for (const Stretch& part : Cut(stretch)) {
      svg += "<polyline " + stroke + " points=\"";
      for (size_t i = 0; i < part.size(); ++i) {
        if (i > 0 && part[i] == part[i - 1]) continue;
        svg += (i ? " " : "") + Place(part[i].x) + "," + Place(part[i].y);
      }
      svg += "\"/>\n";
    }
    if (!series.markers && stretch.size() > 1) continue;
    for (const Point& point : stretch) {  // a lone point would not show as a line
      if (!Inside(point)) continue;
      svg += "<circle fill=\"" + color + "\" cx=\"" + Place(point.x) + "\" cy=\"" + Place(point.y) +
             "\" r=\"3\"/>\n";
    }
  }
  return svg;
}

std::string LegendSvg(const std::vector<Series>& series) {
  std::string svg;
  double at = kTop + 12;
  for (size_t i = 0; i < series.size(); ++i) {
    if (series[i].name.empty()) continue;
    svg += Line(kRight + 16, at - 4, kRight + 52, at - 4, Stroke(series[i], i));
    svg += Text(kRight + 60, at, "", series[i].name);
    at += 22;
  }
  return svg;
}

std::string PanelSvg(const Panel& panel, size_t index) {
  const Scale x = MakeScale(panel.axes.x, panel.series, true, kLeft, kRight);
  const Scale y = MakeScale(panel.axes.y, panel.series, false, kBottom, kTop);
  std::string svg = "<g transform=\"translate(0 " + Place(kHeight * index) + ")\">\n";
  svg += AxesSvg(panel, x, y);
  svg += "<g fill=\"none\" stroke-linejoin=\"round\">\n";
  for (size_t i = 0; i < panel.series.size(); ++i) svg += SeriesSvg(panel.series[i], i, x, y);
  svg += "</g>\n";
  return svg + LegendSvg(panel.series) + "</g>\n";
}

}  // namespace

std::string LineChartsSvg(const std::vector<Panel>& panels) {
  const double height = kHeight * static_cast<double>(panels.size());
  const std::string size = "width=\"" + Place(kWidth) + "\" height=\"" + Place(height) + "\"";
  std::string svg =
      "<svg xmlns=\"http://www.w3.org/2000/svg\" " + size + " viewBox=\"0 0 " + Place(kWidth) +
      " " + Place(height) +
      "\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" "
      "font-size=\"13\" fill=\"#222\" stroke=\"none\">\n"
      "<style>.grid{stroke:#e4e4e4;stroke-width:1} .axis{stroke:#555;stroke-width:1} "
      ".tick{font-size:12px;fill:#444} .title{font-size:15px;font-weight:bold}</style>\n";
  svg += "<rect " + size + " fill=\"white\"/>\n";
  for (size_t i = 0; i < panels.size(); ++i) svg += PanelSvg(panels[i], i);
  return svg + "</svg>\n";
}

void WriteLineCharts(const std::string& path, const std::vector<Panel>& panels) {
  WriteFile(path, LineChartsSvg(panels));
}

void WriteLineChart(const std::string& path, const std::string& title, const Axes& axes,
                    const std::vector<Series>& series) {
  WriteLineCharts(path, {{title, axes, series}});
}

}  // namespace lseg
