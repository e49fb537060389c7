// Pixels counted by probability on a grid that is fine at both ends, where most probabilities of a
// net stand: what average precision, and any threshold, needs of an image, without its pixels.
//
// From 2^-24 to 0.5 every octave has 64 classes of equal width; from 0.5 to 1 it is the same grid
// of 1 - p. Average precision over the classes differs from that over the distinct probabilities
// only where positives and negatives share a class.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "lseg/metrics.h"

namespace lseg {

inline constexpr int kFineClasses = 2947;

// The class of a probability in [0, 1]; ascends with it.
int FineClass(float probability);
// The smallest probability of a class, or, where the class can have none (float32 is coarser than
// the grid next to 1), of the next one that can.
float FineThreshold(int fine_class);

class FineHistogram {
 public:
  // prob in [0, 1]; truth 0 or else positive.
  void Count(const float* prob, const uint8_t* truth, int64_t pixels);
  // Adds another's counts `times` times.
  void Add(const FineHistogram& other, int64_t times = 1);

  // Sum over the classes of recall step times precision; nothing where there is no positive.
  std::optional<double> AveragePrecision() const;
  // What is counted where p >= FineThreshold(fine_class).
  PointScore At(int fine_class) const;

  // A threshold is a class > 0 of the grid; nothing where there is none such, or no positive.
  // The one of the largest Dice (of several the highest), the highest that reaches a recall, and
  // the lowest that has at least a precision.
  std::optional<int> OfLargestDice() const;
  std::optional<int> OfRecall(double recall) const;
  std::optional<int> OfPrecision(double precision) const;

 private:
  // Calls visit(class, PointScore at it) from the highest class down to 1, those without a pixel
  // left out.
  template <typename Visit>
  void Descend(Visit visit) const;

  // By truth; empty: nothing counted.
  std::array<std::vector<int64_t>, 2> counts_;
};

}  // namespace lseg
