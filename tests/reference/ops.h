// Pooling, deconvolution and the sigmoid loss by their definitions in double, on plain NCHW
// vectors: the oracles of the tests. Written from the windows' or weights' side, element by
// element, where the ops go by rows and phases.
#pragma once

#include <cstdint>
#include <vector>

#include "kernels/deconv.h"
#include "kernels/pool.h"
#include "kernels/sigmoid_loss.h"

namespace lseg::reference {

struct Pooled {
  std::vector<double> dst;
  std::vector<int32_t> argmax;  // of the maximum
};
Pooled PoolForward(const PoolParams& p, const std::vector<float>& src);
// d_src
std::vector<double> PoolBackward(const PoolParams& p, const std::vector<float>& d_dst,
                                 const std::vector<int32_t>& argmax);

// A deconvolution is linear in each of its inputs: one walk over all products
// src * weight -> dst serves all four results. `scale` sums their absolute values.
struct Sums {
  std::vector<double> value, scale;
};
Sums DeconvForward(const DeconvParams& p, const std::vector<float>& src,
                   const std::vector<float>& weight, const std::vector<float>& bias);
Sums DeconvBackwardData(const DeconvParams& p, const std::vector<float>& d_dst,
                        const std::vector<float>& weight);
Sums DeconvBackwardWeight(const DeconvParams& p, const std::vector<float>& src,
                          const std::vector<float>& d_dst);
Sums DeconvBackwardBias(const DeconvParams& p, const std::vector<float>& d_dst);

struct LossAndGradient {
  double loss = 0, normalizer = 1;
  std::vector<double> gradient;  // for a loss weight of 1
};
LossAndGradient SigmoidLoss(const SigmoidLossParams& p, const std::vector<float>& logits,
                            const std::vector<float>& target);

}  // namespace lseg::reference
