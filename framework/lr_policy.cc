// A function of the iteration alone, multistep included: a resumed run needs no state for it.
#include "framework/lr_policy.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "kernels/runtime/check.h"

namespace lseg {
namespace {

// How much of the run is over, in [0, 1].
double Progress(const caffe::SolverParameter& solver, int64_t iteration) {
  LSEG_CHECK(solver.max_iter() > 0, "lr_policy '" << solver.lr_policy() << "' needs max_iter");
  return std::min(1.0, static_cast<double>(iteration) / solver.max_iter());
}

double PolicyRate(const caffe::SolverParameter& solver, int64_t iteration) {
  const std::string& policy = solver.lr_policy();
  const double base = solver.base_lr(), gamma = solver.gamma(), power = solver.power();
  const double i = static_cast<double>(iteration);
  if (policy == "fixed") return base;
  if (policy == "step") {
    return base * std::pow(gamma, static_cast<double>(iteration / solver.stepsize()));
  }
  if (policy == "multistep") {
    const auto passed = std::count_if(solver.stepvalue().begin(), solver.stepvalue().end(),
                                      [&](int value) { return value <= iteration; });
    return base * std::pow(gamma, static_cast<double>(passed));
  }
  if (policy == "exp") return base * std::pow(gamma, i);
  if (policy == "inv") return base * std::pow(1 + gamma * i, -power);
  if (policy == "poly") {
    const double left = 1 - Progress(solver, iteration);
    return left > 0 ? base * std::pow(left, power) : 0;
  }
  if (policy == "sigmoid") return base / (1 + std::exp(-gamma * (i - solver.stepsize())));
  if (policy == "cosine") {
    constexpr double kPi = 3.141592653589793;
    const double end = solver.min_lr();
    return end + (base - end) * 0.5 * (1 + std::cos(kPi * Progress(solver, iteration)));
  }
  LSEG_FAIL("lr_policy '" << policy << "' is unknown");
}

}  // namespace

float LearningRate(const caffe::SolverParameter& solver, int64_t iteration) {
  double rate = PolicyRate(solver, iteration);
  if (iteration < solver.warmup_iter()) {
    const double start = solver.warmup_factor();
    rate *= start + (1 - start) * static_cast<double>(iteration + 1) / solver.warmup_iter();
  }
  return static_cast<float>(rate);
}

}  // namespace lseg
