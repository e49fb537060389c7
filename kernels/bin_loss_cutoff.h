// The part of the bin loss that is the same on every device: from an image's counts and sums to its
// cut-offs, weights and loss.
#pragma once

#include <cmath>

#include "kernels/bin_loss.h"
#include "kernels/runtime/host_device.h"

namespace lseg {

// From the hardest bin down until key * P_c is reached; all where it is not, and where P_c = 0.
LSEG_HOST_DEVICE inline int FirstBin(const BinLossStats& stats, int64_t key) {
  if (stats.positives == 0) return 0;
  int64_t taken = 0;
  for (int bin = 4; bin > 0; --bin) {
    taken += stats.negatives[bin];
    if (taken >= key * stats.positives) return bin;
  }
  return 0;
}

// Cut-offs and weights of one image's channels; returns its loss.
LSEG_HOST_DEVICE inline double FinishImage(const BinLossParams& params, BinLossStats* stats) {
  const int64_t channels = params.logits.c;
  int64_t count_positive = 0, count_negative = 0;
  double sum_positive = 0, sum_negative = 0, not_taken = 0;
  for (int64_t c = 0; c < channels; ++c) {
    BinLossStats& s = stats[c];
    s.first_bin = FirstBin(s, params.key);
    int64_t taken = 0;
    for (int bin = 0; bin < 5; ++bin) {
      (bin < s.first_bin ? not_taken : sum_negative) += s.loss_negative[bin];
      if (bin >= s.first_bin) taken += s.negatives[bin];
    }
    sum_positive += s.loss_positive;
    count_positive += s.positives;
    count_negative += taken / params.num_label;
  }
  const double total = static_cast<double>(count_positive + count_negative);
  const double weight_positive = total == 0 ? 0 : static_cast<double>(count_negative) / total;
  const double weight_negative = total == 0 ? 0 : static_cast<double>(count_positive) / total;
  const double factor = static_cast<double>(params.scale) / static_cast<double>(params.logits.n);
  for (int64_t c = 0; c < channels; ++c) {
    stats[c].weight_positive = static_cast<float>(weight_positive * factor);
    stats[c].weight_negative = static_cast<float>(weight_negative * factor);
  }
  const double loss = sum_positive * weight_positive + sum_negative * weight_negative;
  // A NaN logit lies in no bin that is taken for sure, but must be seen.
  const double all = not_taken + sum_positive + sum_negative;
  return std::isnan(all) ? all : loss * factor;
}

// Negatives from this logit on are taken in the gradient.
LSEG_HOST_DEVICE inline float GradientEdge(const BinLossParams& params, const BinLossStats& stats) {
  constexpr float kEdge1 = kBinEdges[0], kEdge2 = kBinEdges[1], kEdge3 = kBinEdges[2],
                  kEdge4 = kBinEdges[3];
  switch (stats.first_bin) {
    case 4:
      return kEdge4;
    case 3:
      return kEdge3;
    case 2:
      return kEdge2;
    case 1:
      return params.published_backward ? -INFINITY : kEdge1;
    default:
      return -INFINITY;
  }
}

}  // namespace lseg
