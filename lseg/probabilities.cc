// Resampling is separable and goes along rows first: each pass reads and writes whole rows, in
// parallel.
#include "lseg/probabilities.h"

#include <omp.h>

#include <algorithm>
#include <cmath>

namespace lseg {
namespace {

using Taps = ResamplingTaps;

Taps TriangleTaps(int src, int dst) {
  const double ratio = static_cast<double>(src) / dst;
  const double radius = std::max(1.0, ratio);
  Taps taps;
  std::vector<double> weights;
  for (int i = 0; i < dst; ++i) {
    const double center = (i + 0.5) * ratio - 0.5;
    const int low = static_cast<int>(std::floor(center - radius)) + 1;
    const int high = static_cast<int>(std::ceil(center + radius)) - 1;
    const int first = std::clamp(low, 0, src - 1), last = std::clamp(high, 0, src - 1);
    weights.assign(last - first + 1, 0.0);
    double sum = 0;
    for (int j = low; j <= high; ++j) {
      const double weight = 1 - std::abs(j - center) / radius;
      weights[std::clamp(j, first, last) - first] += weight;
      sum += weight;
    }
    taps.Add(first, weights, sum);
  }
  return taps;
}

// One row of the source at the destination's width.
void ResampleAlong(const float* in, const Taps& across, float* out) {
  for (size_t x = 0; x < across.size(); ++x) {
    const Taps::Tap tap = across[x];
    float sum = 0;
    for (size_t k = 0; k < tap.weights.size(); ++k) sum += tap.weights[k] * in[tap.first + k];
    out[x] = sum;
  }
}

// One row of the destination from `rows` of that width, of which the first is that of tap.first.
// Sums are cut to [0, 1], which rounding of the weights may leave by an ulp.
void BlendRows(const float* rows, const Taps::Tap& tap, size_t width, float* out) {
  std::fill(out, out + width, 0.0f);
  for (size_t k = 0; k < tap.weights.size(); ++k) {
    const float weight = tap.weights[k];
    const float* in = rows + k * width;
    for (size_t x = 0; x < width; ++x) out[x] += weight * in[x];
  }
  for (size_t x = 0; x < width; ++x) out[x] = std::clamp(out[x], 0.0f, 1.0f);
}

// Of the classes so far, the one with the largest p / threshold in each pixel, and that ratio.
void TakeLarger(const float* p, float threshold, uint8_t label, size_t count, float* best,
                uint8_t* labels) {
  for (size_t i = 0; i < count; ++i) {
    if (p[i] >= threshold && p[i] / threshold > best[i]) {
      best[i] = p[i] / threshold;
      labels[i] = label;
    }
  }
}

void CheckThresholds(std::span<const float> thresholds, size_t classes) {
  LSEG_CHECK(thresholds.size() == classes && classes < 256,
             thresholds.size() << " thresholds for " << classes << " classes");
  for (float threshold : thresholds) {
    LSEG_CHECK(threshold > 0 && threshold <= 1,
               "threshold " << threshold << " must be above 0 and at most 1");
  }
}

void CheckSizes(const Probabilities& src, int width, int height) {
  LSEG_CHECK(src.width > 0 && src.height > 0 && width > 0 && height > 0,
             "cannot resize probabilities from " << src.width << "x" << src.height << " to "
                                                 << width << "x" << height);
}

}  // namespace

void ResamplingTaps::Add(int first, std::span<const double> weights, double sum) {
  first_.push_back(first);
  for (const double weight : weights) weights_.push_back(static_cast<float>(weight / sum));
  begin_.push_back(weights_.size());
}

Probabilities ResizeProbabilities(const Probabilities& src, int width, int height) {
  CheckSizes(src, width, height);
  if (width == src.width && height == src.height) return src;
  Probabilities dst(width, height, src.classes);
  const Taps across = TriangleTaps(src.width, width);
  const Taps down = TriangleTaps(src.height, height);
  std::vector<float> rows(static_cast<size_t>(src.height) * width);
  for (size_t c = 0; c < src.classes.size(); ++c) {
#pragma omp parallel for schedule(static)
    for (int y = 0; y < src.height; ++y) {
      ResampleAlong(src.Map(c) + static_cast<size_t>(y) * src.width, across,
                    &rows[static_cast<size_t>(y) * width]);
    }
#pragma omp parallel for schedule(static)
    for (int y = 0; y < height; ++y) {
      BlendRows(&rows[static_cast<size_t>(down[y].first) * width], down[y], width,
                dst.Map(c) + static_cast<size_t>(y) * width);
    }
  }
  return dst;
}

Image ClassMap(const Probabilities& probabilities, std::span<const float> thresholds) {
  return ResizedClassMap(probabilities, probabilities.width, probabilities.height, thresholds);
}

Image ResizedClassMap(const Probabilities& src, int width, int height,
                      std::span<const float> thresholds) {
  CheckSizes(src, width, height);
  CheckThresholds(thresholds, src.classes.size());
  const int band = std::min(height, 32);  // rows at a time, which stay in the cache
  const Taps across = TriangleTaps(src.width, width);
  const Taps down = TriangleTaps(src.height, height);
  const bool same_size = width == src.width && height == src.height;
  const auto end_of = [&](int y) {
    return down[y].first + static_cast<int>(down[y].weights.size());
  };
  int most_rows = 0;
  for (int top = 0; top < height; top += band) {
    most_rows = std::max(most_rows, end_of(std::min(height, top + band) - 1) - down[top].first);
  }
  // A thread's rows at the width, its row of probabilities, and its ratios; allocated here, because
  // nothing may be thrown out of a parallel loop.
  const size_t row = width, memory = row * ((same_size ? 0 : most_rows) + 1 + band);
  std::vector<float> buffers(memory * omp_get_max_threads());
  Image map(width, height, 1);
#pragma omp parallel for schedule(dynamic)
  for (int top = 0; top < height; top += band) {
    float* p = &buffers[memory * omp_get_thread_num()];
    float *best = p + row, *rows = best + row * band;
    const int bottom = std::min(height, top + band), first = down[top].first;
    std::fill(best, best + row * (bottom - top), 0.0f);
    for (size_t c = 0; c < src.classes.size(); ++c) {
      const auto source = [&](int y) { return src.Map(c) + static_cast<size_t>(y) * src.width; };
      for (int y = first; !same_size && y < end_of(bottom - 1); ++y) {
        ResampleAlong(source(y), across, rows + row * (y - first));
      }
      for (int y = top; y < bottom; ++y) {
        if (!same_size) BlendRows(rows + row * (down[y].first - first), down[y], row, p);
        TakeLarger(same_size ? source(y) : p, thresholds[c], static_cast<uint8_t>(c + 1), row,
                   best + row * (y - top), map.Row(y));
      }
    }
  }
  return map;
}

void CropProbabilities(Probabilities* probabilities, const Fit& part) {
  Probabilities& p = *probabilities;
  const bool inside = part.left >= 0 && part.top >= 0 && part.left + part.width <= p.width &&
                      part.top + part.height <= p.height;
  if (!inside) {
    Probabilities all(part.width, part.height, p.classes);
    const int left = std::max(part.left, 0), right = std::min(part.left + part.width, p.width);
    const int bottom = std::min(part.top + part.height, p.height);
    for (size_t c = 0; c < p.classes.size(); ++c) {
      for (int y = std::max(part.top, 0); y < bottom && left < right; ++y) {
        std::copy(p.Map(c) + size_t(y) * p.width + left, p.Map(c) + size_t(y) * p.width + right,
                  all.Map(c) + size_t(y - part.top) * part.width + (left - part.left));
      }
    }
    p = std::move(all);
    return;
  }
  float* to = p.values.data();  // never ahead of what is still to be read
  for (size_t c = 0; c < p.classes.size(); ++c) {
    for (int y = 0; y < part.height; ++y, to += part.width) {
      const float* from = p.Map(c) + size_t(part.top + y) * p.width + part.left;
      std::copy(from, from + part.width, to);
    }
  }
  p.width = part.width;
  p.height = part.height;
  p.values.resize(p.classes.size() * p.Plane());
}

ProbabilitySampler::ProbabilitySampler(const Probabilities& src, int width, int height)
    : src_(src) {
  CheckSizes(src, width, height);
  if (width == src.width && height == src.height) return;
  across_ = TriangleTaps(src.width, width);
  down_ = TriangleTaps(src.height, height);
}

float ProbabilitySampler::At(size_t c, int x, int y) const {
  const float* map = src_.Map(c);
  if (across_.empty()) return map[static_cast<size_t>(y) * src_.width + x];
  const Taps::Tap across = across_[x], down = down_[y];
  float sum = 0;  // in the order of ResampleAlong and BlendRows
  for (size_t k = 0; k < down.weights.size(); ++k) {
    const float* row = map + (down.first + k) * src_.width + across.first;
    float along = 0;
    for (size_t j = 0; j < across.weights.size(); ++j) along += across.weights[j] * row[j];
    sum += down.weights[k] * along;
  }
  return std::clamp(sum, 0.0f, 1.0f);
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
