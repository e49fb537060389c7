// Resampling is separable and goes rows first: each pass reads and writes whole rows, in parallel.
#include "lseg/probabilities.h"

#include <algorithm>
#include <cmath>

namespace lseg {
namespace {

// Weighted source positions of one destination position.
struct Taps {
  int first = 0;
  std::vector<float> weights;
};

std::vector<Taps> TriangleTaps(int src, int dst) {
  const double ratio = static_cast<double>(src) / dst;
  const double radius = std::max(1.0, ratio);
  std::vector<Taps> taps(dst);
  for (int i = 0; i < dst; ++i) {
    const double center = (i + 0.5) * ratio - 0.5;
    const int low = static_cast<int>(std::floor(center - radius)) + 1;
    const int high = static_cast<int>(std::ceil(center + radius)) - 1;
    const int first = std::clamp(low, 0, src - 1), last = std::clamp(high, 0, src - 1);
    std::vector<double> weights(last - first + 1, 0.0);
    double sum = 0;
    for (int j = low; j <= high; ++j) {
      const double weight = 1 - std::abs(j - center) / radius;
      weights[std::clamp(j, first, last) - first] += weight;
      sum += weight;
    }
    taps[i].first = first;
    for (double weight : weights) taps[i].weights.push_back(static_cast<float>(weight / sum));
  }
  return taps;
}

// src (height, src_width) -> dst (height, taps.size())
void ResizeRows(const float* src, int height, int src_width, const std::vector<Taps>& taps,
                float* dst) {
  const int width = static_cast<int>(taps.size());
#pragma omp parallel for schedule(static)
  for (int y = 0; y < height; ++y) {
    const float* in = src + static_cast<size_t>(y) * src_width;
    float* out = dst + static_cast<size_t>(y) * width;
    for (int x = 0; x < width; ++x) {
      const Taps& tap = taps[x];
      float sum = 0;
      for (size_t k = 0; k < tap.weights.size(); ++k) sum += tap.weights[k] * in[tap.first + k];
      out[x] = sum;
    }
  }
}

// src (src_height, width) -> dst (taps.size(), width); sums are cut to [0, 1], which rounding of
// the weights may leave by an ulp.
void ResizeColumns(const float* src, int width, const std::vector<Taps>& taps, float* dst) {
  const int height = static_cast<int>(taps.size());
#pragma omp parallel for schedule(static)
  for (int y = 0; y < height; ++y) {
    float* out = dst + static_cast<size_t>(y) * width;
    std::fill(out, out + width, 0.0f);
    for (size_t k = 0; k < taps[y].weights.size(); ++k) {
      const float weight = taps[y].weights[k];
      const float* in = src + static_cast<size_t>(taps[y].first + k) * width;
      for (int x = 0; x < width; ++x) out[x] += weight * in[x];
    }
    for (int x = 0; x < width; ++x) out[x] = std::clamp(out[x], 0.0f, 1.0f);
  }
}

}  // namespace

Probabilities ResizeProbabilities(const Probabilities& src, int width, int height) {
  LSEG_CHECK(src.width > 0 && src.height > 0 && width > 0 && height > 0,
             "cannot resize probabilities from " << src.width << "x" << src.height << " to "
                                                 << width << "x" << height);
  if (width == src.width && height == src.height) return src;
  Probabilities dst(width, height, src.classes);
  const std::vector<Taps> across = TriangleTaps(src.width, width);
  const std::vector<Taps> down = TriangleTaps(src.height, height);
  std::vector<float> rows(static_cast<size_t>(src.height) * width);
  for (size_t c = 0; c < src.classes.size(); ++c) {
    ResizeRows(src.Map(c), src.height, src.width, across, rows.data());
    ResizeColumns(rows.data(), width, down, dst.Map(c));
  }
  return dst;
}

Image ClassMap(const Probabilities& probabilities, std::span<const float> thresholds) {
  const size_t classes = probabilities.classes.size();
  LSEG_CHECK(thresholds.size() == classes && classes < 256,
             thresholds.size() << " thresholds for " << classes << " classes");
  for (float threshold : thresholds) {
    LSEG_CHECK(threshold > 0 && threshold <= 1,
               "threshold " << threshold << " must be above 0 and at most 1");
  }
  Image map(probabilities.width, probabilities.height, 1);
  const auto count = static_cast<int64_t>(probabilities.Plane());
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    float best = 0;
    for (size_t c = 0; c < classes; ++c) {
      const float p = probabilities.Map(c)[i];
      if (p >= thresholds[c] && p / thresholds[c] > best) {
        best = p / thresholds[c];
        map.pixels[i] = static_cast<uint8_t>(c + 1);
      }
    }
  }
  return map;
}

Image ToGray(const Probabilities& probabilities, size_t c) {
  Image gray(probabilities.width, probabilities.height, 1);
  const float* map = probabilities.Map(c);
  const auto count = static_cast<int64_t>(probabilities.Plane());
#pragma omp parallel for schedule(static)
  for (int64_t i = 0; i < count; ++i) {
    gray.pixels[i] = GrayOf(map[i]);
  }
  return gray;
}

}  // namespace lseg
