// The page of an evaluation: the same tables as on the terminal, and the charts. Static, so that it
// can be mailed, archived and printed.
#include <algorithm>

#include "lseg/eval_report.h"
#include "lseg/eval_tables.h"
#include "lseg/eval_values.h"

namespace lseg {

extern const char kEvalCss[];

namespace {

// Bytes of the UTF-8 character that starts at text[at]; 0 where none does.
size_t CharacterAt(const std::string& text, size_t at) {
  const auto byte = static_cast<unsigned char>(text[at]);
  size_t length = 0;
  if (byte >= 0x20 && byte < 0x7F) length = 1;
  if (byte >= 0xC2) length = byte < 0xE0 ? 2 : byte < 0xF0 ? 3 : byte < 0xF5 ? 4 : 0;
  if (at + length > text.size()) return 0;
  for (size_t k = 1; k < length; ++k) {
    if ((text[at + k] & 0xC0) != 0x80) return 0;
  }
  return length;
}

// Text of HTML. Names of files may be any bytes: what is no UTF-8, or controls, becomes U+FFFD.
std::string Escape(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t length = CharacterAt(text, at);
    const char c = text[at];
    if (length == 0) {
      out += "\xEF\xBF\xBD";
    } else if (c == '&' || c == '<' || c == '>' || c == '"') {
      out += c == '&' ? "&amp;" : c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&quot;";
    } else {
      out += text.substr(at, length);
    }
    at += std::max<size_t>(length, 1);
  }
  return out;
}

std::string Capital(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] -= 'a' - 'A';
  return text;
}

// A part of the page, with an entry in its contents.
struct Section {
  std::string id, heading, body;
};

std::string TableHtml(const Table& table, const std::string& label) {
  std::string html;
  if (!table.rows.empty()) {
    html += "<div class=\"wide\" role=\"region\" tabindex=\"0\" aria-label=\"" + Escape(label) +
            "\">\n<table>\n<thead><tr>";
    for (const std::string& cell : table.rows[0]) {
      html += "<th scope=\"col\">" + Escape(cell) + "</th>";
    }
    html += "</tr></thead>\n<tbody>\n";
    for (size_t r = 1; r < table.rows.size(); ++r) {
      html += "<tr><th scope=\"row\">" + Escape(table.rows[r][0]) + "</th>";
      for (size_t i = 1; i < table.rows[0].size(); ++i) {
        const bool there = i < table.rows[r].size();
        html += "<td>" + (there ? Escape(table.rows[r][i]) : "") + "</td>";
      }
      html += "</tr>\n";
    }
    html += "</tbody>\n</table>\n</div>\n";
  }
  if (table.notes.empty()) return html;
  html += "<ul>\n";
  for (const std::string& note : table.notes) html += "<li>" + Escape(note) + "</li>\n";
  return html + "</ul>\n";
}

std::string Figure(const Panel& panel) {
  std::string svg = LineChartsSvg({panel});
  const std::string open = "<svg ";
  svg.insert(open.size(), "role=\"img\" aria-label=\"" + Escape(panel.title) + "\" ");
  return "<figure class=\"wide\" tabindex=\"0\">\n" + svg + "</figure>\n";
}

void AddTable(const std::string& id, const std::string& heading, const Table& table,
              std::vector<Section>* sections) {
  const std::string body = TableHtml(table, heading);
  if (!body.empty()) sections->push_back({id, heading, body});
}

Table ImagesTable(const Evaluation& evaluation) {
  const PrOptions& scores = evaluation.options.scores;
  Table table{"", {{"image", "size", "lesion"}}, {}};
  for (Protocol protocol : scores.protocols) table.rows[0].push_back(ToString(protocol));
  for (const RatioColumn& ratio : kRatios) table.rows[0].push_back(ratio.title);
  for (const ImageScore& image : evaluation.images) {
    for (size_t c = 0; c < scores.lesions.size(); ++c) {
      const LesionReport& lesion = image.report.lesions[c];
      if (lesion.at_threshold.pixels == 0) continue;  // not annotated
      std::vector<std::string>& row = table.rows.emplace_back();
      row = {image.name, std::to_string(image.width) + "x" + std::to_string(image.height),
             scores.lesions[c]};
      for (Protocol protocol : scores.protocols) row.push_back(Fixed(Aupr(lesion, protocol), 4));
      for (const RatioColumn& ratio : kRatios) {
        const int digits = ratio.ratio == &PointScore::Prevalence ? 5 : 4;
        row.push_back(Fixed((lesion.at_threshold.*ratio.ratio)(), digits));
      }
    }
  }
  return table;
}

void AddScores(const Evaluation& evaluation, std::vector<Section>* sections) {
  AddTable("scores", "Scores, pooled over all pixels", PooledTable(evaluation), sections);
  if (evaluation.statistics) {
    const Table table = IntervalTable(evaluation);
    AddTable("intervals", table.rows.empty() ? "Intervals" : Capital(table.title), table, sections);
  }
  const Table per_image = PerImageTable(evaluation);
  AddTable("per-image", Capital(per_image.title), per_image, sections);
  if (evaluation.kind == PredictionKind::kClassMap) return;
  Section& section = sections->emplace_back(Section{"curves", "Precision and recall", ""});
  for (const Panel& panel : CurvePanels(evaluation)) section.body += Figure(panel);
}

void AddStatisticsSections(const Evaluation& evaluation, std::vector<Section>* sections) {
  const Table points = PointsTable(evaluation);
  if (!points.rows.empty()) AddTable("thresholds", Capital(points.title), points, sections);
  const Table lesions = LesionsTable(evaluation);
  AddTable("lesions", Capital(lesions.title), lesions, sections);
  if (evaluation.kind == PredictionKind::kClassMap) return;
  sections->back().body += Figure(ReliabilityPanel(evaluation)) + Figure(FrocPanel(evaluation));
}

std::vector<Section> Sections(const Evaluation& evaluation) {
  std::vector<Section> sections;
  const bool scored = evaluation.kind != PredictionKind::kNone;
  if (scored) AddScores(evaluation, &sections);
  if (evaluation.statistics) AddStatisticsSections(evaluation, &sections);
  if (evaluation.comparison) {
    const Table table = ComparisonTable(evaluation, true);
    AddTable("versus", Capital(table.title), table, &sections);
  }
  if (!evaluation.baseline.empty()) {
    const Table table = BaselineTable(evaluation);
    AddTable("baseline", Capital(table.title), table, &sections);
  }
  if (!scored) return sections;
  sections.push_back({"images", "Each image",
                      "<details>\n<summary>Scores of each image</summary>\n" +
                          TableHtml(ImagesTable(evaluation), "Scores of each image") +
                          "</details>\n"});
  return sections;
}

}  // namespace

std::string HtmlText(const Evaluation& evaluation) {
  std::string html =
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<title>Lesion maps scored</title>\n<style>\n" +
      std::string(kEvalCss) + "</style>\n</head>\n<body>\n<header>\n<h1>Lesion maps scored</h1>\n";
  if (evaluation.kind != PredictionKind::kNone) {
    html += "<ul>\n";
    for (const std::string& line : HeadLines(evaluation)) {
      html += "<li>" + Escape(line) + "</li>\n";
    }
    html += "</ul>\n";
  }
  const std::vector<Section> sections = Sections(evaluation);
  html += "<nav aria-label=\"Contents\">\n";
  for (const Section& section : sections) {
    html += "<a href=\"#" + section.id + "\">" + Capital(section.id) + "</a>\n";
  }
  html += "</nav>\n</header>\n<main>\n";
  for (const Section& section : sections) {
    html += "<section id=\"" + section.id + "\">\n<h2>" + Escape(section.heading) + "</h2>\n" +
            section.body + "</section>\n";
  }
  return html +
         "</main>\n<footer>Values are fractions. Figures of different protocols or sizes are not "
         "comparable. Made by lseg_eval; for research, no medical device.</footer>\n"
         "</body>\n</html>\n";
}

}  // namespace lseg
