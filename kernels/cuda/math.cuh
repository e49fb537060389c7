// exp, log1p and sigmoid on the range that the losses need, as kernels/cpu/vector_math.h has them:
// exact to a few units of the last place also where the result is tiny.
#pragma once

namespace lseg::cuda {

// exp(-|z|), in [0, 1]; a NaN stays one.
__device__ inline float ExpOfMinusAbs(float z) { return expf(-fabsf(z)); }

// log(1 + e) for e in [0, 1], as the series of 2 artanh(e / (2 + e)). log1pf costs twice as much.
__device__ inline float Log1pOfUnit(float e) {
  const float s = __fdividef(e, 2.0f + e);  // <= 1/3
  const float q = s * s;
  float tail = 1.0f / 15;
  tail = tail * q + 1.0f / 13;
  tail = tail * q + 1.0f / 11;
  tail = tail * q + 1.0f / 9;
  tail = tail * q + 1.0f / 7;
  tail = tail * q + 1.0f / 5;
  tail = tail * q + 1.0f / 3;
  return 2.0f * (s + s * q * tail);
}

// log(1 + exp(z)) without overflow.
__device__ inline float Softplus(float z) {
  return (z > 0 ? z : 0.0f) + Log1pOfUnit(ExpOfMinusAbs(z));
}

// 1 / (1 + exp(-z)) and 1 / (1 + exp(z)), each without cancellation.
struct SigmoidPair {
  float p, one_minus_p;
};
__device__ inline SigmoidPair SigmoidBothWays(float z) {
  const float e = ExpOfMinusAbs(z);
  const float share = __fdividef(1.0f, 1.0f + e), rest = e * share;
  return z < 0 ? SigmoidPair{rest, share} : SigmoidPair{share, rest};
}

// 1 / (1 + exp(-z)) to 3 ulp: of expf 2, of the sum and the quotient half a one each.
__device__ inline float Sigmoid(float z) {
  const float e = ExpOfMinusAbs(z);
  return (z < 0 ? e : 1.0f) / (1.0f + e);
}

}  // namespace lseg::cuda
