// Convolution by its definition in double, on plain NCHW and OIHW vectors: the oracle of the tests.
// One walk over all products serves the three directions, so it has no formula in common with the
// engines, which gather.
#pragma once

#include <vector>

#include "kernels/conv.h"

namespace lseg::reference {

// dst; an empty bias adds nothing.
std::vector<double> ConvForward(const ConvParams& p, const std::vector<float>& src,
                                const std::vector<float>& weight, const std::vector<float>& bias);
// d_src
std::vector<double> ConvBackwardData(const ConvParams& p, const std::vector<float>& d_dst,
                                     const std::vector<float>& weight);
// d_weight
std::vector<double> ConvBackwardWeights(const ConvParams& p, const std::vector<float>& src,
                                        const std::vector<float>& d_dst);
// d_bias
std::vector<double> ConvBackwardBias(const ConvParams& p, const std::vector<float>& d_dst);

}  // namespace lseg::reference
