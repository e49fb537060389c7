// What is drawn where: places of points, ticks, what is left out, and that the text is XML. Whether
// it looks good was looked at, not tested.
#include "lseg/plot.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>

#include "framework/file.h"
#include "kernels/runtime/check.h"

namespace lseg {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const double kNan = std::numeric_limits<double>::quiet_NaN();

std::string Svg(const Axes& axes, const std::vector<Series>& series) {
  return LineChartsSvg({{"title", axes, series}});
}

// Attribute values, in order: All(svg, "<polyline ", "points").
std::vector<std::string> All(const std::string& svg, const std::string& element,
                             const std::string& attribute) {
  std::vector<std::string> found;
  for (size_t at = svg.find(element); at != std::string::npos; at = svg.find(element, at + 1)) {
    const size_t begin = svg.find(" " + attribute + "=\"", at) + attribute.size() + 3;
    found.push_back(svg.substr(begin, svg.find('"', begin) - begin));
  }
  return found;
}

std::vector<std::string> Lines(const std::string& svg) { return All(svg, "<polyline ", "points"); }

// Texts of the ticks below (or, with "end", beside) the plotting area.
std::vector<std::string> Ticks(const std::string& svg, const std::string& anchor) {
  const std::string start = "class=\"tick\" text-anchor=\"" + anchor + "\">";
  std::vector<std::string> found;
  for (size_t at = svg.find(start); at != std::string::npos; at = svg.find(start, at + 1)) {
    const size_t begin = at + start.size();
    const std::string text = svg.substr(begin, svg.find('<', begin) - begin);
    if (!text.empty()) found.push_back(text);
  }
  return found;
}

const Axes kUnit = {{"recall", 0, 1}, {"precision", 0, 1}};

// The plotting area lies from (78, 344) to (600, 44).
TEST(Plot, PutsPointsInPlace) {
  const std::string svg = Svg(kUnit, {{"a", {0, 0.5, 1}, {0, 0.25, 1}}});
  EXPECT_THAT(Lines(svg), ElementsAre("78,344 339,269 600,44"));
  EXPECT_THAT(svg, HasSubstr(">recall</text>"));
  EXPECT_THAT(svg, HasSubstr(">precision</text>"));
  EXPECT_THAT(svg, HasSubstr(">title</text>"));
  EXPECT_THAT(Ticks(svg, "middle"), ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1"));
  EXPECT_THAT(Ticks(svg, "end"), ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1"));
}

TEST(Plot, RoundsFreeAxesOutwards) {
  const std::string svg = Svg({{"x"}, {"y"}}, {{"a", {3, 4980}, {-0.07, 0.31}}});
  EXPECT_THAT(Ticks(svg, "middle"), ElementsAre("0", "1000", "2000", "3000", "4000", "5000"));
  EXPECT_THAT(Ticks(svg, "end"), ElementsAre("-0.1", "0", "0.1", "0.2", "0.3", "0.4"));
  // One value in every direction still has room around it, and no data has axes all the same.
  EXPECT_THAT(Lines(Svg({{"x"}, {"y"}}, {{"a", {5, 5}, {7, 7}}})), ElementsAre("339,194"));
  EXPECT_THAT(Ticks(Svg({{"x"}, {"y"}}, {}), "end"),
              ElementsAre("0", "0.2", "0.4", "0.6", "0.8", "1"));
}

TEST(Plot, LogAxesNumberDecades) {
  const Axes axes = {{.label = "x", .min = 0, .max = 1},
                     {.label = "y", .min = 0.01, .max = 100, .log = true}};
  const std::string svg = Svg(axes, {{"a", {0, 0.5, 0.75, 1}, {0.01, 1, 0, 100}}});
  EXPECT_THAT(Ticks(svg, "end"), ElementsAre("0.01", "0.1", "1", "10", "100"));
  EXPECT_THAT(Lines(svg), ElementsAre("78,344 339,194", "600,44"));  // 0 has no place
  const Axes narrow = {{.label = "x"}, {.label = "y", .min = 1, .max = 10, .log = true}};
  EXPECT_THAT(Ticks(Svg(narrow, {}), "end"), ElementsAre("1", "2", "5", "10"));
  const Axes thousands = {{.label = "x"}, {.label = "y", .min = 100, .max = 10000, .log = true}};
  EXPECT_THAT(Ticks(Svg(thousands, {}), "end"), ElementsAre("100", "1000", "10000"));
}

TEST(Plot, GapsInterruptLinesAndLonePointsShow) {
  const std::string svg =
      Svg(kUnit, {{"a", {0, 0.1, 0.2, 0.3, 0.4}, {0.5, 0.5, kNan, 0.5, INFINITY}}});
  EXPECT_THAT(Lines(svg), ElementsAre("78,194 130.2,194", "234.6,194"));
  EXPECT_EQ(All(svg, "<circle ", "cx"), std::vector<std::string>{"234.6"});
  const std::string marked = Svg(kUnit, {{.name = "a", .x = {0, 1}, .y = {0, 1}, .markers = true}});
  EXPECT_THAT(All(marked, "<circle ", "cx"), ElementsAre("78", "600"));
}

TEST(Plot, CutsLinesToTheArea) {
  // Enters from below at x 0.25, leaves at the top at 0.75; comes back and stays out.
  const std::string svg = Svg(kUnit, {{"a", {0, 1, 1, 0.5}, {-0.5, 1.5, 2, 1.5}}});
  EXPECT_THAT(Lines(svg), ElementsAre("208.5,344 469.5,44"));
  const std::string through = Svg(kUnit, {{"a", {0.2, 0.5, 0.8}, {0.5, 1.5, 0.5}}});
  EXPECT_THAT(Lines(through), ElementsAre("182.4,194 260.7,44", "417.3,44 495.6,194"));
  EXPECT_THAT(All(Svg(kUnit, {{"a", {2}, {0.5}}}), "<circle ", "cx"), ElementsAre());
}

TEST(Plot, MergesPointsButKeepsPeaks) {
  Series series{.name = "loss"};
  for (int i = 0; i < 300000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 123456 ? 1 : i == 200001 ? 0 : 0.5 + 0.01 * (i % 7));
  }
  const std::string svg = Svg({{"x", 0, 300000}, {"y", 0, 1}}, {series});
  EXPECT_LT(svg.size(), 80000u);
  EXPECT_THAT(Lines(svg).at(0), HasSubstr(",44 "));   // the peak
  EXPECT_THAT(Lines(svg).at(0), HasSubstr(",344 "));  // the trough
}

TEST(Plot, SeriesDifferInColourAndDashes) {
  std::vector<Series> series;
  for (int i = 0; i < 7; ++i) series.push_back({"s" + std::to_string(i), {0, 1}, {0, 1}});
  series.push_back({.name = "", .x = {0, 1}, .y = {0, 1}, .style = 2, .faint = true});
  const std::string svg = Svg(kUnit, series);
  std::vector<std::string> colors = All(svg, "<polyline ", "stroke");
  ASSERT_EQ(colors.size(), 8u);
  EXPECT_EQ(colors[7], "#A6DDCE");  // 0.35 of the third colour on white
  colors.pop_back();
  std::vector<std::string> dashes = All(svg, "<polyline ", "stroke-dasharray");
  for (std::vector<std::string>* values : {&colors, &dashes}) {
    values->resize(7);
    std::sort(values->begin(), values->end());
    EXPECT_EQ(std::unique(values->begin(), values->end()), values->end());
  }
  EXPECT_THAT(svg, HasSubstr(">s6</text>"));
}

TEST(Plot, EscapesNames) {
  const std::string svg = Svg(kUnit, {{"p < 0.5 & \"q\" > 1\n", {0}, {0}}});
  EXPECT_THAT(svg, HasSubstr("p &lt; 0.5 &amp; &quot;q&quot; &gt; 1 </text>"));
}

TEST(Plot, StacksPanelsAndWritesThem) {
  const std::vector<Panel> panels = {{"loss", kUnit, {{"a", {0, 1}, {0, 1}}}},
                                     {"AUPR", kUnit, {{"b", {0, 1}, {1, 0}}}}};
  const std::string svg = LineChartsSvg(panels);
  EXPECT_THAT(svg, HasSubstr("viewBox=\"0 0 800 800\""));
  EXPECT_THAT(svg, HasSubstr("translate(0 400)"));
  const std::string path = ::testing::TempDir() + "plot_test.svg";
  WriteLineCharts(path, panels);
  EXPECT_EQ(ReadFile(path), svg);
  WriteLineChart(path, "loss", panels[0].axes, panels[0].series);
  EXPECT_EQ(ReadFile(path), LineChartsSvg({panels[0]}));
  std::filesystem::remove(path);
  EXPECT_THROW(WriteLineCharts(::testing::TempDir() + "missing/x.svg", panels), Error);
}

TEST(Plot, RefusesUnequalLengths) { EXPECT_THROW(Svg(kUnit, {{"a", {0, 1}, {0}}}), Error); }

}  // namespace
}  // namespace lseg
