#include "lseg/reliability.h"

#include <algorithm>
#include <cmath>

namespace lseg {

void Reliability::Count(const float* prob, const uint8_t* truth, int64_t pixels) {
  for (int64_t i = 0; i < pixels; ++i) {
    const double p = prob[i];
    Bin& bin = bins[std::min(static_cast<int>(p * kReliabilityBins), kReliabilityBins - 1)];
    ++bin.pixels;
    bin.positives += truth[i] != 0;
    bin.probability += p;
  }
}

void Reliability::Add(const Reliability& other, int64_t times) {
  for (int i = 0; i < kReliabilityBins; ++i) {
    bins[i].pixels += times * other.bins[i].pixels;
    bins[i].positives += times * other.bins[i].positives;
    bins[i].probability += static_cast<double>(times) * other.bins[i].probability;
  }
}

std::optional<double> Reliability::ExpectedCalibrationError() const {
  double error = 0;
  int64_t pixels = 0;
  for (const Bin& bin : bins) {
    error += std::abs(static_cast<double>(bin.positives) - bin.probability);
    pixels += bin.pixels;
  }
  if (pixels == 0) return std::nullopt;
  return error / static_cast<double>(pixels);
}

}  // namespace lseg
