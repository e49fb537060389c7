// How far colour alone goes: the area under the precision-recall curve of each of the maps R, G, B
// and their inverses, taken as if they were probabilities of a lesion. A set on which the best of
// them does well is too easy to say anything about a segmentation.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lseg/image.h"
#include "lseg/metrics.h"

namespace lseg {

inline constexpr const char* kColourMaps[] = {"R", "G", "B", "inverse R", "inverse G", "inverse B"};

struct ColourAreas {
  std::array<std::optional<double>, 6> aupr;  // of kColourMaps by kIdrid33, nothing if absent
  int best = -1;                              // index of the largest, the first of equals
};

// Pools the pixels of images in constant memory.
class ColourBaseline {
 public:
  explicit ColourBaseline(size_t lesions) : counts_(lesions) {}

  // photo: RGB; truth: lesions x height x width of the photograph, 0 or else lesion. A lesion that
  // is not `annotated` (one flag a lesion; none: all are) counts no pixel of it.
  void Add(const Image& photo, const uint8_t* truth, const std::vector<bool>& annotated = {});

  std::vector<ColourAreas> Areas() const;  // one a lesion

 private:
  struct Counts {
    GrayHistogram of[3][2] = {};  // by channel and truth
  };
  std::vector<Counts> counts_;
};

}  // namespace lseg
