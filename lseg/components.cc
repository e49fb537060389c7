// Runs of equal class in a row are the nodes of a union-find: lesions take few pixels of a
// photograph, and a map of labels would take four bytes for each.
#include "lseg/components.h"

#include <algorithm>
#include <tuple>

namespace lseg {
namespace {

struct Run {
  int begin, end;  // columns, end outside
  uint8_t label;
  size_t parent;
};

struct Sum {
  int64_t area = 0, x = 0, y = 0;
  double probability = 0;
  Component part;
};

size_t Root(std::vector<Run>& runs, size_t at) {
  while (runs[at].parent != at) at = runs[at].parent = runs[runs[at].parent].parent;
  return at;
}

void Append(const Image& map, int y, std::vector<Run>& runs) {
  const uint8_t* row = map.Row(y);
  for (int x = 0; x < map.width;) {
    const int begin = x;
    while (x < map.width && row[x] == row[begin]) ++x;
    if (row[begin] != 0) runs.push_back({begin, x, row[begin], runs.size()});
  }
}

// Joins the runs from `at` on with those above them, of [above, at): diagonals touch.
void Join(std::vector<Run>& runs, size_t above, size_t at) {
  size_t first = above;
  for (size_t i = at; i < runs.size(); ++i) {
    while (first < at && runs[first].end < runs[i].begin) ++first;
    for (size_t k = first; k < at && runs[k].begin <= runs[i].end; ++k) {
      if (runs[k].label != runs[i].label) continue;
      const size_t a = Root(runs, k), b = Root(runs, i);
      runs[std::max(a, b)].parent = std::min(a, b);
    }
  }
}

void Add(const Run& run, int y, const ProbabilitySampler& probability, Sum& sum) {
  Component& part = sum.part;
  const int c = run.label - 1;
  if (sum.area == 0) part = {.lesion = c, .left = run.begin, .top = y};
  part.left = std::min(part.left, run.begin);
  part.right = std::max(part.right, run.end);
  part.bottom = y + 1;
  const int64_t length = run.end - run.begin;
  sum.area += length;
  sum.x += length * (run.begin + run.end - 1) / 2;  // the product is even
  sum.y += length * y;
  for (int x = run.begin; x < run.end; ++x) {
    const float p = probability.At(c, x, y);
    sum.probability += p;
    part.max_probability = std::max(part.max_probability, p);
  }
}

}  // namespace

std::vector<Component> FindComponents(const Image& class_map, const Probabilities& probabilities) {
  LSEG_CHECK(class_map.channels == 1,
             "components are those of a class map, not of " << class_map.channels << " channels");
  const ProbabilitySampler sampler(probabilities, class_map.width, class_map.height);
  std::vector<Run> runs;
  std::vector<size_t> rows = {0};  // the first run of each row
  for (int y = 0; y < class_map.height; ++y) {
    Append(class_map, y, runs);
    Join(runs, y == 0 ? 0 : rows[y - 1], rows[y]);
    rows.push_back(runs.size());
  }
  std::vector<size_t> part_of(runs.size());
  std::vector<Sum> sums;
  for (int y = 0; y < class_map.height; ++y) {
    for (size_t i = rows[y]; i < rows[y + 1]; ++i) {
      LSEG_CHECK(runs[i].label <= probabilities.classes.size(),
                 "class " << int{runs[i].label} << " at (" << runs[i].begin << "," << y
                          << ") of a map of " << probabilities.classes.size());
      const size_t root = Root(runs, i);
      if (root == i) part_of[i] = sums.size(), sums.emplace_back();  // roots come first
      Add(runs[i], y, sampler, sums[part_of[root]]);
    }
  }
  std::vector<Component> parts;
  for (Sum& sum : sums) {
    const auto area = static_cast<double>(sum.area);
    sum.part.area = sum.area;
    sum.part.centroid_x = static_cast<double>(sum.x) / area;
    sum.part.centroid_y = static_cast<double>(sum.y) / area;
    sum.part.mean_probability = sum.probability / area;
    parts.push_back(sum.part);
  }
  std::stable_sort(parts.begin(), parts.end(), [](const Component& a, const Component& b) {
    return std::tuple(a.lesion, -a.area) < std::tuple(b.lesion, -b.area);
  });
  return parts;
}

}  // namespace lseg
