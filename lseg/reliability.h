// Calibration: whether what is said to be a lesion with probability p is one in p of the cases.
#pragma once

#include <array>
#include <cstdint>
#include <optional>

namespace lseg {

inline constexpr int kReliabilityBins = 15;

// One lesion's pixels by probability in 15 bins of equal width, [0, 1/15), ..., [14/15, 1].
struct Reliability {
  struct Bin {
    int64_t pixels = 0, positives = 0;
    double probability = 0;  // sum of it
  };
  std::array<Bin, kReliabilityBins> bins;

  // prob in [0, 1]; truth 0 or else positive.
  void Count(const float* prob, const uint8_t* truth, int64_t pixels);
  // Adds another's counts `times` times.
  void Add(const Reliability& other, int64_t times = 1);
  // Mean over all pixels of |share of positives in the pixel's bin - mean probability in it| (Guo
  // et al., "On calibration of modern neural networks", ICML 2017, on the class asked for).
  // Nothing without pixels.
  std::optional<double> ExpectedCalibrationError() const;
};

}  // namespace lseg
