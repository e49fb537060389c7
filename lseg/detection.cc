// Both counts come out of components' largest "probability": of the truth's, whether the prediction
// reaches a threshold in it; of the prediction's, with the truth taken as a probability, whether
// it holds a true pixel.
#include "lseg/detection.h"

#include <algorithm>

#include "kernels/runtime/check.h"
#include "lseg/components.h"

namespace lseg {
namespace {

std::optional<double> Ratio(int64_t part, int64_t whole) {
  if (whole == 0) return std::nullopt;
  return static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

void Detections::Add(const Detections& other, int64_t times) {
  if (other.thresholds.empty()) return;
  if (thresholds.empty()) {
    thresholds = other.thresholds;
    found.assign(thresholds.size(), 0);
    false_positives.assign(thresholds.size(), 0);
  }
  LSEG_CHECK(thresholds == other.thresholds, "detections at different thresholds do not add up");
  images += times * other.images;
  lesions += times * other.lesions;
  for (size_t i = 0; i < thresholds.size(); ++i) {
    found[i] += times * other.found[i];
    false_positives[i] += times * other.false_positives[i];
  }
}

std::optional<double> Detections::Sensitivity(size_t threshold) const {
  return Ratio(found[threshold], lesions);
}

std::optional<double> Detections::FalsePositives(size_t threshold) const {
  return Ratio(false_positives[threshold], images);
}

std::optional<double> Detections::SensitivityWithin(double wanted) const {
  if (lesions == 0) return std::nullopt;
  double best = 0;
  for (size_t i = 0; i < thresholds.size(); ++i) {
    if (*FalsePositives(i) <= wanted) best = std::max(best, *Sensitivity(i));
  }
  return best;
}

std::optional<double> Detections::Score() const {
  if (lesions == 0) return std::nullopt;
  double sum = 0;
  for (double wanted : kFalsePositives) sum += *SensitivityWithin(wanted);
  return sum / kFalsePositives.size();
}

std::vector<float> DetectionThresholds() {
  std::vector<float> thresholds = {0.01f, 0.02f};
  for (int i = 1; i < 20; ++i) thresholds.push_back(static_cast<float>(i) / 20);
  thresholds.insert(thresholds.end(), {0.98f, 0.99f, 0.995f, 0.998f, 0.999f, 0.9999f});
  return thresholds;
}

Detections CountDetections(const std::vector<float>& thresholds, const float* prob,
                           const uint8_t* truth, int height, int width) {
  const size_t pixels = static_cast<size_t>(height) * width;
  Detections counts{thresholds, 1, 0, std::vector<int64_t>(thresholds.size(), 0),
                    std::vector<int64_t>(thresholds.size(), 0)};
  Image mask(width, height, 1);
  Probabilities values(width, height, {"lesion"});
  for (size_t i = 0; i < pixels; ++i) mask.pixels[i] = truth[i] != 0;
  std::copy(prob, prob + pixels, values.values.begin());
  const float largest = *std::max_element(prob, prob + pixels);
  for (const Component& lesion : FindComponents(mask, values)) {
    ++counts.lesions;
    for (size_t t = 0; t < thresholds.size(); ++t) {
      counts.found[t] += lesion.max_probability >= thresholds[t];
    }
  }
  for (size_t i = 0; i < pixels; ++i) values.values[i] = mask.pixels[i];
  for (size_t t = 0; t < thresholds.size() && thresholds[t] <= largest; ++t) {
    for (size_t i = 0; i < pixels; ++i) mask.pixels[i] = prob[i] >= thresholds[t];
    for (const Component& part : FindComponents(mask, values)) {
      counts.false_positives[t] += part.max_probability == 0;
    }
  }
  return counts;
}

}  // namespace lseg
