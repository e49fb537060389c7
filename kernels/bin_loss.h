// The multi-channel bin sigmoid cross-entropy loss of L-Seg (Guo et al., Neurocomputing 2019),
// fused: one pass over the logits for all counts and sums, a second for the gradient.
//
// For one image and channel c, with p = sigmoid(z): P_c positives; negatives fall into five bins by
// p
// ([0,.2) [.2,.4) [.4,.6) [.6,.8) [.8,1]), decided by comparing z with the logits of the edges, so
// that every device and precision agrees. From the hardest bin down, bins are taken whole until
// their count reaches key * P_c (all five where P_c = 0 or where they do not reach it). With n_c
// negatives taken, count_pos = sum P_c, count_neg = sum floor(n_c / num_label) over channels:
//   loss = sum_c ( sum_pos log(1+exp(-z)) * count_neg + sum_taken log(1+exp(z)) * count_pos )
//          / (count_pos + count_neg)
//   d loss / dz = (p - 1) count_neg / (count_pos + count_neg) on positives,
//                 p count_pos / (count_pos + count_neg) on taken negatives, 0 elsewhere.
// Both are 0 where count_pos + count_neg = 0. A batch's loss is the mean over its images.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/label.h"
#include "kernels/runtime/context.h"
#include "kernels/runtime/host_device.h"
#include "kernels/runtime/integers.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct BinLossParams {
  Shape logits;
  // (N,1,H,W): 0 background, c + 1 for channel c, other values are an Error at run time.
  // (N,C,H,W): 0 or 1 per channel, lesions may overlap. A plane of kNotAnnotated (kernels/label.h)
  // leaves its channel out of the image's loss, as if there were no such channel; the first pixel
  // tells, and the plane's gradient is 0.
  Shape label;
  int64_t key = 10;
  int64_t num_label = 2;
  // Reproduces the published gradient, whose repeated condition takes bin 0 wherever bins 4..1 were
  // taken and reached key * P_c. For comparison only; the loss itself does not change.
  bool published_backward = false;
  float scale = 1;  // multiplies loss and gradient (loss normalisation)

  void Validate() const;
  bool operator==(const BinLossParams&) const = default;
  // Bytes of `stats`: what forward finds out and backward needs, and behind it the place where
  // forward gathers its partial sums.
  int64_t StatsBytes() const;
  // A GPU's partial sums are of blocks of so many pixels of a channel.
  static constexpr int64_t kBlockPixels = 4096;
  LSEG_HOST_DEVICE int64_t Blocks() const { return CeilDiv(logits.h * logits.w, kBlockPixels); }
};

// What forward leaves for backward, one a (image, channel), n-major. Sums are in double.
struct BinLossStats {
  int64_t positives;
  int64_t negatives[5];  // by bin, easiest first
  double loss_positive;  // sum of log(1+exp(-z)) over positives
  double loss_negative[5];
  int32_t first_bin;                       // bins first_bin..4 are taken
  float weight_positive, weight_negative;  // factors of the gradient, scale and 1/N included
};

// Writes loss[0] and stats (StatsBytes()). The same for any number of threads, and on a GPU from
// run to run: the partial sums are of parts of the image that depend on the shape only, and are
// added in a fixed order. Between devices counts are the same, sums differ by 1e-6 of themselves at
// most: a term is exact to 8 units of the last place, and up to 256 are added in float. A NaN among
// the logits makes the loss one, whether its bin is taken or not. A bad label: on a GPU
// DeviceFault::kBadLabel, at the next Synchronize.
void BinLossForward(Context& context, const BinLossParams& params, const float* logits,
                    const uint8_t* label, BinLossStats* stats, float* loss);
// Several losses of one shape against one label, each as BinLossForward has it, to the bit; on a
// GPU kMostBinLosses of them by one launch, which take the label from cache but for the first.
constexpr int kMostBinLosses = 8;
struct BinLossTask {
  const float* logits;
  BinLossStats* stats;
  float* loss;
};
void BinLossesForward(Context& context, const BinLossParams& params, const uint8_t* label,
                      std::span<const BinLossTask> tasks);
// d_logits by mode, times loss_weight (the gradient of the loss' top) and, where it is given,
// loss_scale[0] (memory of the device), which the update takes off again (kernels/update.h).
void BinLossBackward(Context& context, const BinLossParams& params, const float* logits,
                     const uint8_t* label, const BinLossStats* stats, float loss_weight,
                     float* d_logits, GradMode d_logits_mode, const float* loss_scale = nullptr);
// No two may have the same d_logits.
struct BinLossGradientTask {
  const float* logits;
  const BinLossStats* stats;
  float loss_weight;
  float* d_logits;
  GradMode mode;
};
void BinLossesBackward(Context& context, const BinLossParams& params, const uint8_t* label,
                       std::span<const BinLossGradientTask> tasks,
                       const float* loss_scale = nullptr);

// The logits ln p/(1-p) of .2 .4 .6 .8, at which bins 1 to 4 begin: -ln 4, -ln 1.5, ln 1.5, ln 4.
inline constexpr float kBinEdges[4] = {-1.3862944f, -0.4054651f, 0.4054651f, 1.3862944f};

// The bin, 0..4, of a logit; 0 for a NaN.
LSEG_HOST_DEVICE inline int BinOf(float z) {
  constexpr float kEdge1 = kBinEdges[0], kEdge2 = kBinEdges[1], kEdge3 = kBinEdges[2],
                  kEdge4 = kBinEdges[3];
  return (z >= kEdge1) + (z >= kEdge2) + (z >= kEdge3) + (z >= kEdge4);
}

}  // namespace lseg
