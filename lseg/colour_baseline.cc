// A channel's histogram read backwards is that of its inverse, so three are counted for six maps.
#include "lseg/colour_baseline.h"

#include <algorithm>

#include "kernels/runtime/check.h"

namespace lseg {

void ColourBaseline::Add(const Image& photo, const uint8_t* truth,
                         const std::vector<bool>& annotated) {
  LSEG_CHECK(photo.channels == 3,
             "the colour baseline wants RGB photographs, not of " << photo.channels << " channels");
  const int64_t pixels = static_cast<int64_t>(photo.width) * photo.height;
  const int lesions = static_cast<int>(counts_.size());
#pragma omp parallel for schedule(dynamic)
  for (int c = 0; c < lesions; ++c) {
    if (!annotated.empty() && !annotated[c]) continue;
    const uint8_t* mask = truth + c * pixels;
    for (int64_t i = 0; i < pixels; ++i) {
      const int lesion = mask[i] != 0;
      for (int k = 0; k < 3; ++k) ++counts_[c].of[k][lesion][photo.pixels[i * 3 + k]];
    }
  }
}

std::vector<ColourAreas> ColourBaseline::Areas() const {
  std::vector<ColourAreas> areas(counts_.size());
  for (size_t c = 0; c < counts_.size(); ++c) {
    for (int map = 0; map < 6; ++map) {
      GrayHistogram negatives = counts_[c].of[map % 3][0], positives = counts_[c].of[map % 3][1];
      if (map >= 3) {
        std::reverse(negatives.begin(), negatives.end());
        std::reverse(positives.begin(), positives.end());
      }
      ColourAreas& of = areas[c];
      of.aupr[map] = Idrid33Curve(positives, negatives).aupr;
      if (of.aupr[map] && (of.best < 0 || *of.aupr[map] > *of.aupr[of.best])) of.best = map;
    }
  }
  return areas;
}

}  // namespace lseg
