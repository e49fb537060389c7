// Element by element: ReLU, sigmoid, and sums of arrays. Format-blind: they see `count` elements of
// storage, channel padding included (which stays zero through ReLU; sigmoid takes NCHW only).
// dst may be src. d_src may be d_dst unless the mode is kAdd.
#pragma once

#include <cstdint>
#include <span>

#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"

namespace lseg {

// dst = src > 0 ? src : slope * src, Caffe's negative_slope (0: the plain ReLU). A NaN stays one.
// A negative slope is an Error, here and below. Rounded to the type once; f16 on a GPU only.
void ReluForward(Context& context, int64_t count, float slope, const void* src, void* dst,
                 DType dtype = DType::kF32);
// From the output: for slope >= 0, dst > 0 exactly where src > 0.
void ReluBackward(Context& context, int64_t count, float slope, const void* dst, const void* d_dst,
                  void* d_src, GradMode d_src_mode, DType dtype = DType::kF32);

// dst = 1 / (1 + exp(-src)); accurate to 2 ulp (3 on a GPU), never NaN for finite src.
void SigmoidForward(Context& context, int64_t count, const float* src, float* dst);
// d_src = d_dst * dst * (1 - dst)
void SigmoidBackward(Context& context, int64_t count, const float* dst, const float* d_dst,
                     float* d_src, GradMode d_src_mode);

struct SumTerm {
  const void* src;
  float coefficient = 1;
};
constexpr int kMostSumTerms = 8;
// dst (written, or added to) = the sum over terms of coefficient * src, in f32 and in the order of
// the terms, what was there before added last; rounded to the type once. From 1 to kMostSumTerms
// terms, all of `count` elements; dst may be one of the sources. Its gradients are sums of one
// term.
void WeightedSum(Context& context, int64_t count, std::span<const SumTerm> terms, void* dst,
                 GradMode dst_mode, DType dtype = DType::kF32);

}  // namespace lseg
