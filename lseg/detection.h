// Single lesions found and missed, for free-response curves (FROC): lesion-level sensitivity
// against false positives an image.
//
// Lesions are 8-connected components, of the truth and of what is predicted at a threshold. A true
// lesion is found where the prediction holds at least one of its pixels; a predicted component is
// a false positive where it holds no pixel of the truth. (So a prediction that runs into several
// true lesions finds all of them: the pixels' scores tell such a one from a good one.)
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

namespace lseg {

// Counts of one lesion kind at ascending thresholds (predicted: p >= it), of images.
struct Detections {
  std::vector<float> thresholds;
  int64_t images = 0, lesions = 0;              // lesions: single ones, in the truth
  std::vector<int64_t> found, false_positives;  // at each threshold

  // Adds another's counts `times` times; its thresholds are the same, or these are none yet.
  void Add(const Detections& other, int64_t times = 1);
  std::optional<double> Sensitivity(size_t threshold) const;     // nothing without lesions
  std::optional<double> FalsePositives(size_t threshold) const;  // an image; nothing without
  // The largest sensitivity at a threshold with at most so many false positives an image; 0 where
  // there is no such threshold.
  std::optional<double> SensitivityWithin(double false_positives) const;
  // Mean of that at kFalsePositives, as the challenge ROC scored microaneurysms (Niemeijer et al.,
  // IEEE Transactions on Medical Imaging 29(1), 2010).
  std::optional<double> Score() const;
};
inline constexpr std::array<double, 7> kFalsePositives = {0.125, 0.25, 0.5, 1, 2, 4, 8};

// 0.01, 0.02, 0.05, 0.1, 0.15, ..., 0.95, 0.98, 0.99, 0.995, 0.998, 0.999, 0.9999: a net that is sure
// of itself has its few false positives at the last ones.
std::vector<float> DetectionThresholds();

// Of one image and lesion. prob: height x width in [0, 1]; truth: the same shape, 0 or else lesion.
Detections CountDetections(const std::vector<float>& thresholds, const float* prob,
                           const uint8_t* truth, int height, int width);

}  // namespace lseg
