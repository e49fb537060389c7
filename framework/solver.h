// Solver: steps a trainable Net as a SolverParameter says. One step is iter_size batches forward
// and backward, their gradients added up, and one update in Caffe's order of operations
// (kernels/update.h). Where the net scales its losses (f16), the solver finds the scale.
#pragma once

#include <cstdint>

#include "framework/loss_scale.h"
#include "framework/net.h"
#include "framework/proto/caffe.pb.h"
#include "framework/weights.h"

namespace lseg {

class Solver {
 public:
  // `net` was built with `param` in NetOptions.solver; both outlive the solver. An Error where
  // nothing in the net learns.
  Solver(Net& net, const caffe::SolverParameter& param);

  struct Step {
    int64_t iteration;  // from 0
    float learning_rate;
    double loss;                // mean over the batches of the step
    std::vector<float> losses;  // each loss top, likewise
    float gradient_norm;        // before clipping and division by iter_size
    int64_t loss_scale;         // that the gradients were computed with; 1 where there is none
    bool skipped;               // they overflowed: no parameter moved, and the scale is halved
  };

  // One step on the batches iteration * iter_size + 0, 1, ...; where the loss or the gradient is
  // not finite the parameters stay as they are and an Error names the layer and the iteration,
  // counted from 1 as in logs. With a loss scale above 1 a gradient that is not finite only makes
  // the step be skipped: its iteration counts, the next one has other batches and half the scale.
  Step Run();

  int64_t iteration() const { return iteration_; }

  // The solver's memory, iteration and loss scale, into and from a checkpoint that holds the
  // parameters as well.
  void Store(WeightsFile& file);
  void Load(const WeightsFile& file);

 private:
  Net& net_;
  const caffe::SolverParameter& param_;
  int64_t iteration_ = 0;
  LossScale loss_scale_;  // the net's, where that has one
};

}  // namespace lseg
