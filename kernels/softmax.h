// Softmax over channels, and Caffe's SoftmaxWithLoss: the class of each pixel from C scores.
//   p_c = exp(z_c) / sum_k exp(z_k), with the largest z subtracted before exp
//   loss = sum over pixels of -log p_label, divided by a normaliser
// Logits are (N,C,H,W), NCHW f32. Bound by memory: forward reads C values a pixel twice (from a
// cache the second time, where C is small).
#pragma once

#include <cstdint>

#include "kernels/runtime/context.h"
#include "kernels/runtime/shape.h"
#include "kernels/sigmoid_loss.h"

namespace lseg {

// dst = softmax(src) along C. dst may be src. Sums to 1 within C ulp; never NaN for finite src.
void SoftmaxForward(Context& context, const Shape& shape, const float* src, float* dst);
// d_src_c = dst_c * (d_dst_c - sum_k d_dst_k dst_k). d_src is none of the others.
void SoftmaxBackward(Context& context, const Shape& shape, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode);

struct SoftmaxLossParams {
  Shape logits;
  // (N,1,H,W): a map of classes 0 to C-1. (N,C-1,H,W), an extension: channel c is 1 where a pixel
  // belongs to class c + 1, which may overlap: the last one counts, none is class 0.
  Shape label;
  // kFull: pixels of the batch; kValid, Caffe's default for this loss: those not ignored;
  // kBatchSize: images; kNone: 1. At least 1, as Caffe.
  SigmoidLossParams::Normalization normalization = SigmoidLossParams::Normalization::kValid;
  bool has_ignore = false;  // pixels of the label `ignore` take no part
  int ignore = 0;

  void Validate() const;
  int64_t Pixels() const { return logits.n * logits.h * logits.w; }
};

// Writes loss[0] and normalizer[0]. Sums in double, in an order that does not depend on the number
// of threads. A label that is no class and not ignored is an Error (on a GPU
// DeviceFault::kBadLabel, at the next Synchronize).
void SoftmaxLossForward(Context& context, const SoftmaxLossParams& params, const float* logits,
                        const uint8_t* label, float* normalizer, float* loss);
// d_logits = (p - [c = label]) * loss_weight / normalizer, 0 where ignored; times loss_scale[0]
// where it is given (memory of the device).
void SoftmaxLossBackward(Context& context, const SoftmaxLossParams& params, const float* logits,
                         const uint8_t* label, const float* normalizer, float loss_weight,
                         float* d_logits, GradMode d_logits_mode,
                         const float* loss_scale = nullptr);

}  // namespace lseg
