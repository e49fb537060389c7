// Sigmoid cross-entropy loss of Caffe: loss = sum over elements of
//   max(z,0) - z t + log(1 + exp(-|z|)),  divided by a normaliser.
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"

namespace lseg {

struct SigmoidLossParams {
  int64_t count = 0;  // elements of logits and of target, NCHW
  int64_t batch = 1;
  enum class Normalization { kFull, kValid, kBatchSize, kNone };  // of Caffe's LossParameter
  Normalization normalization = Normalization::kBatchSize;
  bool has_ignore = false;  // targets equal to `ignore` take no part
  int ignore = 0;

  void Validate() const;
};

// What a loss is divided by, before it is made at least 1, by Caffe's rules: all elements, those
// not ignored, the images of the batch, or 1.
double NormalizerOf(SigmoidLossParams::Normalization normalization, int64_t elements, int64_t valid,
                    int64_t batch);

// Writes loss[0] and normalizer[0] (at least 1, as Caffe). Sums in double, in an order that does
// not depend on the number of threads.
void SigmoidLossForward(Context& context, const SigmoidLossParams& params, const float* logits,
                        const float* target, float* normalizer, float* loss);
// d_logits = (sigmoid(z) - t) * loss_weight / normalizer, 0 where ignored; times loss_scale[0],
// where it is given (memory of the device), as kernels/bin_loss.h has it.
void SigmoidLossBackward(Context& context, const SigmoidLossParams& params, const float* logits,
                         const float* target, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode,
                         const float* loss_scale = nullptr);

}  // namespace lseg
