// The bootstrap over images (Efron and Tibshirani, "An introduction to the bootstrap", 1993):
// images are drawn anew, with replacement, as often as there are; what a figure comes to in many
// such draws shows how much of it is owed to the choice of images. Pixels of an image are not
// independent of one another, so it is images that are drawn.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace lseg {

// How often each image is drawn in resample number `resample`; adds up to `images`. A function of
// its arguments alone: two models are compared on the same draws.
std::vector<int> DrawImages(uint64_t seed, uint64_t resample, size_t images);

struct Interval {
  double low = 0, high = 0;
  int resamples = 0;  // in which the figure has a value
};

// From the 2.5th to the 97.5th percentile (linear between ranks, as numpy's default). Nothing for
// fewer than two values.
std::optional<Interval> PercentileInterval(std::vector<double> values);

// Two-sided p-value of no difference: twice the smaller share of resamples at or beyond 0 on one
// side, with one added to both counts (Davison and Hinkley, "Bootstrap methods and their
// application", 1997, section 4.2), at most 1. Nothing without values.
std::optional<double> TwoSidedP(const std::vector<double>& differences);

}  // namespace lseg
