// Average precision over all distinct probabilities, without sorting, keeping or rounding all of
// them.
//
// Only distinct probabilities that some positive pixel has make a step of recall, and lesions are a
// hundredth of an image. So the positives are collected first, and a second pass over the images
// sorts the negatives in between them, a chunk at a time. No temporary files, and 4 bytes a
// positive pixel plus 20 bytes a distinct probability among them instead of 4 bytes a pixel.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace lseg {

struct PrPoint {
  double threshold, recall, precision;
};

struct PrCurve {
  std::optional<double> aupr;   // nothing where the truth has no positive pixel
  std::vector<PrPoint> points;  // recall ascending, thresholds descending; empty without positives
};

// One lesion. Probabilities are float32 in [0, 1], unchecked here (-0 counts as 0); truth is 0 or
// else positive. Every pixel is shown twice, first to AddPositives, and after the last of these to
// AddNegatives; the order within a pass does not matter.
class ExactAp {
 public:
  static constexpr size_t kChunk = size_t{1} << 20;  // negatives sorted at once

  void AddPositives(const float* prob, const uint8_t* truth, int64_t pixels);
  void AddNegatives(const float* prob, const uint8_t* truth, int64_t pixels);

  // The area, and at most max_points of the curve's points, evenly spread, first and last included.
  PrCurve Curve(size_t max_points) const;

 private:
  void CountDistinct();  // ends the first pass
  void MergeChunk(std::vector<uint32_t>* chunk, std::vector<uint32_t>* scratch);

  // Bit patterns of positives' probabilities: numbers in [0, 1] compare as their patterns do. As
  // they came during the first pass, distinct and ascending after it.
  std::vector<uint32_t> keys_;
  std::vector<int64_t> positives_;  // with that probability
  std::vector<int64_t> negatives_;  // with that probability or one below the next key
  bool counted_ = false;
};

}  // namespace lseg
