#include "framework/solver.h"

#include <algorithm>
#include <cmath>

#include "framework/lr_policy.h"

namespace lseg {
namespace {

constexpr char kIterationKey[] = "solver_iteration";

}  // namespace

Solver::Solver(Net& net, const caffe::SolverParameter& param) : net_(net), param_(param) {
  LSEG_CHECK(net.Learns(), "nothing learns: no loss reaches a parameter whose lr_mult is not 0");
}

Solver::Step Solver::Run() {
  Step step{iteration_, LearningRate(param_, iteration_), 0, {}, 0};
  step.losses.assign(net_.losses().size(), 0);
  const int64_t batches = param_.iter_size();
  for (int64_t batch = 0; batch < batches; ++batch) {
    net_.Fetch(iteration_ * batches + batch);
    net_.Forward();
    net_.Backward(batch > 0);
    step.loss += net_.Loss() / static_cast<double>(batches);
    for (size_t i = 0; i < step.losses.size(); ++i) {
      step.losses[i] += net_.LossValue(static_cast<int>(i)) / static_cast<float>(batches);
    }
    if (!std::isfinite(step.loss)) break;
  }
  if (std::isfinite(step.loss)) step.gradient_norm = net_.Update(step.learning_rate, iteration_);
  if (!std::isfinite(step.loss) || !std::isfinite(step.gradient_norm)) {
    const std::string where = net_.FindNonFinite();
    LSEG_FAIL("iteration " << iteration_ + 1 << ": "
                           << (where.empty() ? "the sum of the gradients" : where)
                           << " is not finite; lower the learning rate or clip the gradients "
                              "(clip_gradients)");
  }
  ++iteration_;
  return step;
}

void Solver::Store(WeightsFile& file) {
  file.metadata[kIterationKey] = std::to_string(iteration_);
  for (const auto& [name, values] : net_.SolverState()) {
    file.Add({name, {static_cast<int64_t>(values.size())}, values});
  }
}

void Solver::Load(const WeightsFile& file) {
  const auto iteration = file.metadata.find(kIterationKey);
  LSEG_CHECK(iteration != file.metadata.end(),
             "this is no checkpoint: its metadata have no " << kIterationKey);
  iteration_ = std::stoll(iteration->second);
  for (const auto& [name, values] : net_.SolverState()) {
    const WeightTensor* tensor = file.Find(name);
    LSEG_CHECK(tensor != nullptr, "the checkpoint has no '" << name
                                                            << "': it is of another net "
                                                               "or another solver");
    net_.SetSolverState(name, tensor->data);
  }
}

}  // namespace lseg
