// Fillers: the first values of a learned tensor, by Caffe's definitions.
//
//   constant  value                      uniform   in [min, max)
//   gaussian  N(mean, std^2)             xavier    uniform in [-s, s), s = sqrt(3 / n)
//   msra      N(0, 2 / n)                bilinear  see below
//
// n by variance_norm: FAN_IN count / shape.n (the default), FAN_OUT count / shape.c, AVERAGE of
// both. These are Caffe's words for both layer types: a Deconvolution, whose weights are stored
// (in, out), gets them as its shape has them. A bias of N values is (N,1,1,1): FAN_IN is 1, FAN_OUT
// N.
#pragma once

#include "framework/proto/caffe.pb.h"
#include "kernels/runtime/random.h"
#include "kernels/runtime/shape.h"

namespace lseg {

// Writes shape.Count() values, in order of memory, so the same random sequence gives the same
// tensor. Throws Error for an unknown type, for gaussian with `sparse`, and for bilinear kernels
// that are not square.
void Fill(const caffe::FillerParameter& filler, const Shape& shape, float* data, Random& random);

// Caffe's bilinear kernel of size k in every (first, second) pair of channels, so that with group 1
// every output channel receives the sum of all inputs:
//   f = ceil(k / 2), c = (k - 1) / (2 f)
//   w[y][x] = (1 - |x / f - c|) * (1 - |y / f - c|)
void FillBilinear(const Shape& shape, float* data);

// The same kernel from channel i to channel i only, zeros elsewhere: upsampling of each channel by
// itself. Throws Error unless shape.n = shape.c or shape.c = 1 (group = channels).
void FillBilinearDiagonal(const Shape& shape, float* data);

}  // namespace lseg
