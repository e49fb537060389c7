// Deconvolution (transposed convolution), grouped, as Caffe's Deconvolution layer: the
// backward-data pass of a convolution used forward.
//
//   dst[n,o,y,x] = bias[o] + sum over i,r,s with y = j*stride_h - pad_h + r*dilation_h (same in x)
//   of
//                  weight[i,o',r,s] * src[n,i,j,k],   o' = o within its group
//
// All tensors NCHW, f32. Written as gathers: no atomics, the sums of an element have one fixed
// order. An output costs ceil(kernel / stride)^2 multiply-adds an input channel of its group.
#pragma once

#include "kernels/runtime/context.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct DeconvParams {
  Shape src;
  int64_t out_channels = 0;
  int64_t kernel_h = 1, kernel_w = 1;
  int64_t stride_h = 1, stride_w = 1;
  int64_t pad_h = 0, pad_w = 0;
  int64_t dilation_h = 1, dilation_w = 1;
  int64_t group = 1;
  bool bias = true;
  // Rows and columns of the output that are wanted, from pad on; 0: all but pad at the end, too.
  int64_t rows = 0, columns = 0;

  void Validate() const;
  // (in - 1) * stride + dilation * (kernel - 1) + 1 - 2 * pad, or what is wanted of it
  Shape Dst() const;
  // (src.c, out_channels / group, kernel_h, kernel_w): Caffe's order for this layer.
  Shape Weight() const;
};

// bias may be null where params.bias is false. dst is written.
void DeconvForward(Context& context, const DeconvParams& params, const float* src,
                   const float* weight, const float* bias, float* dst);
void DeconvBackwardData(Context& context, const DeconvParams& params, const float* d_dst,
                        const float* weight, float* d_src, GradMode d_src_mode);
// One mode each; kSkip and null where a gradient is not wanted.
void DeconvBackwardWeights(Context& context, const DeconvParams& params, const float* src,
                           const float* d_dst, float* d_weight, GradMode d_weight_mode,
                           float* d_bias, GradMode d_bias_mode);

}  // namespace lseg
