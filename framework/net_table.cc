#include "framework/net_table.h"

#include <algorithm>
#include <cstdio>
#include <map>
#include <sstream>

#include "framework/text.h"

namespace lseg {
namespace {

std::string ShapesOf(const LayerRow& row) {
  std::vector<std::string> shapes;
  for (const Shape& shape : row.shapes) {
    const std::string text = ToString(shape);
    if (shapes.empty() || shapes.back() != text) shapes.push_back(text);
  }
  return Join(shapes);
}

// "14714688" -> "14 714 688"
std::string Grouped(int64_t number) {
  std::string text = std::to_string(number);
  for (auto at = static_cast<int64_t>(text.size()) - 3; at > 0; at -= 3) text.insert(at, " ");
  return text;
}

std::string Fixed(double value, int digits) {
  char text[64];
  std::snprintf(text, sizeof(text), "%.*f", digits, value);
  return text;
}

double Gigaflops(const LayerRow& row) { return 2e-9 * static_cast<double>(row.multiply_adds); }

std::vector<std::string> Cells(const LayerRow& row) {
  return {row.name,
          row.type,
          ShapesOf(row),
          row.parameters > 0 ? Grouped(row.parameters) : "",
          row.bytes > 0 ? Fixed(1e-6 * static_cast<double>(row.bytes), 1) : "",
          row.multiply_adds > 0 ? Fixed(Gigaflops(row), 2) : ""};
}

// A text between quotes of Graphviz' language; line ends are written \n there.
std::string Quoted(const std::string& text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c == '\n' ? std::string("\\n") : std::string(1, c);
  }
  return quoted + "\"";
}

}  // namespace

std::vector<LayerRow> DescribeLayers(const NetDefinition& definition, const NetParts& parts) {
  std::vector<LayerRow> rows;
  for (int i = 0; i < definition.layer_count(); ++i) {
    const caffe::LayerParameter& layer = definition.layer(i);
    const LayerParts& made = parts.layers[i];
    LayerRow& row = rows.emplace_back();
    row.name = !layer.name().empty() || layer.top_size() == 0 ? layer.name() : layer.top(0);
    row.type = layer.type();
    row.bottoms.assign(layer.bottom().begin(), layer.bottom().end());
    row.tops.assign(layer.top().begin(), layer.top().end());
    for (int t = 0; t < layer.top_size(); ++t) {
      const TensorDesc& desc = parts.graph.tensors[made.tops[t]].desc;
      row.shapes.push_back(desc.shape);
      const bool in_place =
          std::find(row.bottoms.begin(), row.bottoms.end(), layer.top(t)) != row.bottoms.end();
      if (!in_place) row.bytes += desc.Bytes();
    }
    for (const TensorId param : made.params) {
      row.parameters += parts.graph.tensors[param].desc.shape.Count();
    }
    if (made.params.empty() || made.bottoms.empty()) continue;
    // Each weight meets every pixel of the smaller side once.
    const bool up = row.type == "Deconvolution";
    const Shape& pixels = up ? parts.graph.tensors[made.bottoms[0]].desc.shape : row.shapes[0];
    row.multiply_adds =
        parts.graph.tensors[made.params[0]].desc.shape.Count() * pixels.n * pixels.h * pixels.w;
  }
  return rows;
}

std::vector<std::string> LayerTable(const std::vector<LayerRow>& rows) {
  std::vector<std::vector<std::string>> table = {
      {"layer", "type", "output", "parameters", "MB", "GFLOP"}};
  LayerRow total;
  for (const LayerRow& row : rows) {
    table.push_back(Cells(row));
    total.parameters += row.parameters;
    total.bytes += row.bytes;
    total.multiply_adds += row.multiply_adds;
  }
  table.push_back(Cells(total));
  table.back()[0] = "total";
  std::vector<size_t> widths(table[0].size());
  for (const auto& cells : table) {
    for (size_t c = 0; c < cells.size(); ++c) widths[c] = std::max(widths[c], cells[c].size());
  }
  std::vector<std::string> lines;
  for (const auto& cells : table) {
    std::string line;
    for (size_t c = 0; c < cells.size(); ++c) {
      const std::string space(widths[c] - cells[c].size(), ' ');
      const bool number = c >= 3;  // to the right
      line += (c > 0 ? "  " : "") + (number ? space + cells[c] : cells[c] + space);
    }
    line.erase(line.find_last_not_of(' ') + 1);
    lines.push_back(line);
  }
  return lines;
}

std::string ToDot(const std::vector<LayerRow>& rows, const std::string& title) {
  std::ostringstream dot;
  dot << "digraph " << Quoted(title) << " {\n"
      << "  node [shape=box, fontname=\"sans-serif\"];\n  edge [fontname=\"sans-serif\"];\n";
  std::map<std::string, size_t> writer;  // blob -> the layer that wrote it last
  for (size_t i = 0; i < rows.size(); ++i) {
    const LayerRow& row = rows[i];
    std::string label = row.name + "\n" + row.type + "\n" + ShapesOf(row);
    if (row.parameters > 0) label += "\n" + Grouped(row.parameters) + " parameters";
    dot << "  n" << i << " [label=" << Quoted(label) << "];\n";
    for (const std::string& bottom : row.bottoms) {
      const auto found = writer.find(bottom);
      if (found == writer.end()) continue;
      dot << "  n" << found->second << " -> n" << i << " [label=" << Quoted(bottom) << "];\n";
    }
    for (const std::string& top : row.tops) writer[top] = i;
  }
  dot << "}\n";
  return dot.str();
}

}  // namespace lseg
