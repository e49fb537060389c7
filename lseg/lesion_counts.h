// All that statistics over images need of one image and one lesion: counts that add up, and no
// pixels. Some 60 kB each, most of it the fine histogram.
#pragma once

#include <vector>

#include "lseg/detection.h"
#include "lseg/fine_histogram.h"
#include "lseg/metrics.h"
#include "lseg/reliability.h"

namespace lseg {

struct LesionCounts {
  PixelTally pixels;
  FineHistogram fine;
  Reliability reliability;
  Detections detections;
  std::vector<PointScore> at;  // at the operating points, once these are chosen

  // Adds another's counts `times` times.
  void Add(const LesionCounts& other, int64_t times = 1) {
    pixels.Add(other.pixels, times);
    fine.Add(other.fine, times);
    reliability.Add(other.reliability, times);
    detections.Add(other.detections, times);
    if (at.empty()) at.resize(other.at.size());
    for (size_t i = 0; i < other.at.size(); ++i) at[i].Add(other.at[i], times);
  }
};

}  // namespace lseg
