// The single lesions of a class map: its connected parts, measured.
#pragma once

#include <cstdint>
#include <vector>

#include "lseg/image.h"
#include "lseg/probabilities.h"

namespace lseg {

struct Component {
  int lesion = 0;                         // c, of class c + 1
  int64_t area = 0;                       // pixels
  double centroid_x = 0, centroid_y = 0;  // mean of its pixels; (0, 0) is the first one's centre
  int left = 0, top = 0, right = 0, bottom = 0;  // its bounding box, right and bottom outside
  double mean_probability = 0;                   // of its own lesion, over its pixels
  float max_probability = 0;
};

// The 8-connected components of each class, by lesion, then the largest first, then from the top.
// Two classes that touch are two lesions. The probabilities are those of the class map's size: they
// are resampled to it (ProbabilitySampler) where they have another one. Linear in pixels; memory
// goes with the lesions' rows, not with the image. Throws Error for a class beyond the last.
std::vector<Component> FindComponents(const Image& class_map, const Probabilities& probabilities);

}  // namespace lseg
