// The multi-channel bin loss by its definition in double, for logits in double, so that it can be
// differentiated numerically. Bins are decided by the probability itself.
#pragma once

#include <vector>

#include "kernels/bin_loss.h"

namespace lseg::reference {

double BinLoss(const BinLossParams& p, const std::vector<double>& logits,
               const std::vector<uint8_t>& label);

// The gradient by the formula. published: with the repeated condition of the published code.
std::vector<double> BinLossGradient(const BinLossParams& p, const std::vector<double>& logits,
                                    const std::vector<uint8_t>& label, bool published);

// Central differences of BinLoss, of step 1e-6; no logit may be that near to an edge of a bin.
std::vector<double> BinLossNumericGradient(const BinLossParams& p, std::vector<double> logits,
                                           const std::vector<uint8_t>& label);

}  // namespace lseg::reference
