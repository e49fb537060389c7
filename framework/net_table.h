// A net as people look at it before they run it: a row a layer, and a graph.
#pragma once

#include <string>
#include <vector>

#include "framework/definition.h"
#include "framework/layer.h"

namespace lseg {

struct LayerRow {
  std::string name, type;  // name: that of its top where it has none
  std::vector<std::string> bottoms, tops;
  std::vector<Shape> shapes;  // of the tops
  int64_t parameters = 0;     // numbers that it has, learned or not
  int64_t bytes = 0;          // of its tops; 0 for those that lie where a bottom lies (in place)
  int64_t multiply_adds = 0;  // forward; of convolutions and deconvolutions, all else is small
};

// `parts` is what BuildLayers made of `definition`, which is filtered for its phase, before any
// pass.
std::vector<LayerRow> DescribeLayers(const NetDefinition& definition, const NetParts& parts);

// Lines of a table with a header and totals:
//   layer     type         output         parameters   memory    GFLOP
// FLOPs are two a multiply-add; memory is that of all tops at once, which a plan reuses.
std::vector<std::string> LayerTable(const std::vector<LayerRow>& rows);

// The same as a graph in Graphviz' language: a box a layer, an edge a blob, from top to bottom.
std::string ToDot(const std::vector<LayerRow>& rows, const std::string& title);

}  // namespace lseg
