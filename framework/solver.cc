#include "framework/solver.h"

#include <algorithm>
#include <cmath>

#include "framework/lr_policy.h"

namespace lseg {
namespace {

constexpr char kIterationKey[] = "solver_iteration";
constexpr char kLossScaleKey[] = "solver_loss_scale", kGoodStepsKey[] = "solver_good_steps";

int64_t WholeOf(const WeightsFile& file, const char* key) {
  const auto found = file.metadata.find(key);
  LSEG_CHECK(found != file.metadata.end(),
             "this is no checkpoint of such a training: its metadata have no " << key);
  return std::stoll(found->second);
}

}  // namespace

Solver::Solver(Net& net, const caffe::SolverParameter& param) : net_(net), param_(param) {
  LSEG_CHECK(net.Learns(), "nothing learns: no loss reaches a parameter whose lr_mult is not 0");
  if (net_.ScalesLosses()) net_.SetLossScale(static_cast<float>(loss_scale_.value()));
}

Solver::Step Solver::Run() {
  Step step{iteration_, LearningRate(param_, iteration_), 0, {}, 0, 1, false};
  if (net_.ScalesLosses()) step.loss_scale = loss_scale_.value();
  step.losses.assign(net_.losses().size(), 0);
  const int64_t batches = param_.iter_size();
  for (int64_t batch = 0; batch < batches; ++batch) {
    net_.Fetch(iteration_ * batches + batch);
    net_.Forward();
    net_.Backward(batch > 0);
    // With the last batch everything of the step is queued before the host waits for any of it.
    if (batch + 1 == batches) net_.Update(step.learning_rate, iteration_);
    step.loss += net_.Loss() / static_cast<double>(batches);
    for (size_t i = 0; i < step.losses.size(); ++i) {
      step.losses[i] += net_.LossValue(static_cast<int>(i)) / static_cast<float>(batches);
    }
    if (!std::isfinite(step.loss)) break;
  }
  if (std::isfinite(step.loss)) step.gradient_norm = net_.GradientNorm();
  const bool finite = std::isfinite(step.loss) && std::isfinite(step.gradient_norm);
  if (net_.ScalesLosses()) {
    if (finite) loss_scale_.Good();
    step.skipped = !finite && std::isfinite(step.loss) && loss_scale_.Overflowed();
    if (loss_scale_.value() != step.loss_scale) {
      net_.SetLossScale(static_cast<float>(loss_scale_.value()));
    }
  }
  if (!finite && !step.skipped) {
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
  if (net_.ScalesLosses()) {
    file.metadata[kLossScaleKey] = std::to_string(loss_scale_.value());
    file.metadata[kGoodStepsKey] = std::to_string(loss_scale_.good_steps());
  }
  auto state = net_.SolverState();
  for (auto& [name, values] : state) {
    const auto count = static_cast<int64_t>(values.size());
    file.Add({name, {count}, std::move(values)});
  }
}

void Solver::Load(const WeightsFile& file) {
  iteration_ = WholeOf(file, kIterationKey);
  if (net_.ScalesLosses()) {
    loss_scale_ = LossScale(WholeOf(file, kLossScaleKey), WholeOf(file, kGoodStepsKey));
    net_.SetLossScale(static_cast<float>(loss_scale_.value()));
  }
  for (const auto& [name, values] : net_.SolverState()) {
    const WeightTensor* tensor = file.Find(name);
    LSEG_CHECK(tensor != nullptr, "the checkpoint has no '" << name
                                                            << "': it is of another net "
                                                               "or another solver");
    net_.SetSolverState(name, tensor->data);
  }
}

}  // namespace lseg
