// The course of a training: steps, progress, validations, and what is written on the way.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <numeric>

#include "lseg/checkpoint.h"
#include "lseg/trainer.h"

namespace lseg {
namespace {

namespace fs = std::filesystem;

constexpr double kWaitWorthSaying = 0.01;
constexpr int kDisplay = 20;  // iterations between progress lines where the solver does not say

double SecondsSince(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

std::string Printed(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof(text), format, value);
  return text;
}

std::string Duration(double seconds) {
  if (seconds < 90) return Printed("%.0f s", seconds);
  if (seconds < 5400) return Printed("%.0f min", seconds / 60);
  return Printed("%.1f h", seconds / 3600);
}

}  // namespace

bool Trainer::Run(const std::atomic<int>& stop) {
  while (true) {
    const bool whole = !ValidationDue() || Validate(stop);
    const bool done = iteration() >= plan_.iterations;
    if (!whole || (stop != 0 && !done)) {
      WriteCheckpoint();
      log_->WriteCurves();
      return false;
    }
    const bool due = plan_.checkpoint_every > 0 && iteration() % plan_.checkpoint_every == 0;
    if (done || (due && iteration() > checkpoint_at_)) WriteCheckpoint();
    if (done) break;
    Step();
  }
  Weights().Write((fs::path(folder_) / "final.safetensors").string());
  log_->WriteCurves();
  return true;
}

void Trainer::Step() {
  const auto start = std::chrono::steady_clock::now();
  const Solver::Step step = solver_->Run();
  const double seconds = SecondsSince(start);
  log_->AddStep(iteration(), step.loss, step.learning_rate,
                static_cast<double>(images_per_step_) / seconds, step.losses);
  if (step.skipped) {
    say_("iteration " + std::to_string(iteration()) +
         ": the gradient overflowed at a loss scale of " + std::to_string(step.loss_scale) +
         "; step skipped, from now on " + std::to_string(step.loss_scale / 2));
  }
  seconds_ += seconds;
  ++steps_;
  recent_.push_back(step.loss);
  if (std::all_of(step.losses.begin(), step.losses.end(), [](float loss) { return loss == 0; })) {
    ++empty_;
  }
  const int display = solver_param_.has_display() ? solver_param_.display() : kDisplay;
  const bool last = iteration() == plan_.iterations;
  if (display > 0 && (iteration() % display == 0 || last)) SayProgress(step.learning_rate);
}

void Trainer::SayProgress(float learning_rate) {
  const auto window = std::min<size_t>(recent_.size(), solver_param_.average_loss() > 1
                                                           ? solver_param_.average_loss()
                                                           : recent_.size());
  const double loss =
      std::accumulate(recent_.end() - static_cast<int64_t>(window), recent_.end(), 0.0) /
      static_cast<double>(window);
  const double per_step = seconds_ / static_cast<double>(steps_);
  double left = per_step * static_cast<double>(plan_.iterations - iteration());
  if (plan_.val_every > 0) {
    left += validation_seconds_ * std::ceil(static_cast<double>(plan_.iterations - iteration()) /
                                            static_cast<double>(plan_.val_every));
  }
  std::string line = "iteration " + std::to_string(iteration()) + "/" +
                     std::to_string(plan_.iterations) + "  loss " + Printed("%.4f", loss) +
                     "  lr " + Printed("%.3g", learning_rate) + "  " +
                     Printed("%.2f", static_cast<double>(images_per_step_) / per_step) +
                     " images/s  " + Duration(left) + " left";
  if (empty_ > 0) line += "  (" + std::to_string(empty_) + " empty)";
  // Crops are made while the net computes; where that is too slow, more memory or smaller files
  // help.
  const double waited = net_->WaitedSeconds() / seconds_;
  if (waited > kWaitWorthSaying) {
    line += "  (" + Printed("%.0f", 100 * waited) + " % of the time waiting for input)";
  }
  say_(line);
  empty_ = 0;
  if (solver_param_.average_loss() <= 1) {
    recent_.clear();
  } else {
    recent_.erase(recent_.begin(), recent_.end() - static_cast<int64_t>(window));
  }
}

bool Trainer::ValidationDue() const {
  if (!validation_ || iteration() == 0 || iteration() == validated_at_) return false;
  return iteration() % plan_.val_every == 0 || iteration() == plan_.iterations;
}

bool Trainer::Validate(const std::atomic<int>& stop) {
  const auto start = std::chrono::steady_clock::now();
  std::optional<ValidationScore> score;
  try {
    score = validation_->Run(stop);
  } catch (const OutOfMemory&) {
    if (!device_data_) throw;
    say_("validation does not fit beside the images that the GPU keeps: they make place");
    device_data_->DropImages(context_);
    score = validation_->Run(stop);
  }
  if (!score) return false;
  validation_seconds_ = SecondsSince(start);
  log_->AddValidation(iteration(), score->aupr, score->mean);
  log_->WriteCurves();
  validated_at_ = iteration();
  std::string line = "validation at " + std::to_string(iteration()) + ", idrid33 AUPR in per cent:";
  for (size_t c = 0; c < score->aupr.size(); ++c) {
    line += " " + model_.classes[c] + " " +
            (score->aupr[c] ? Printed("%.1f", 100 * *score->aupr[c]) : std::string("-"));
  }
  line += "  mean " + (score->mean ? Printed("%.1f", 100 * *score->mean) : std::string("-"));
  if (score->mean && *score->mean > best_mean_) {
    best_mean_ = *score->mean;
    Weights().Write((fs::path(folder_) / "best.safetensors").string());
    line += " (the best so far)";
  }
  say_(line + ", took " + Duration(validation_seconds_));
  return true;
}

WeightsFile Trainer::Weights() const {
  WeightsFile file;
  parameters_->Store(file);
  file.metadata = ToMetadata(model_);
  return file;
}

void Trainer::WriteCheckpoint() {
  WeightsFile file = Weights();
  if (solver_param_.has_snapshot_prefix() && iteration() > 0) {
    const std::string prefix = fs::path(solver_param_.snapshot_prefix()).filename().string();
    file.Write(
        (fs::path(folder_) / (prefix + "_iter_" + std::to_string(iteration()) + ".safetensors"))
            .string());
  }
  solver_->Store(file);
  Checkpoint checkpoint;
  checkpoint.tensors = std::move(file);
  checkpoint.plan = plan_;
  checkpoint.engines = net_->engines();
  checkpoint.list_text = list_text_;
  checkpoint.best_mean = best_mean_;
  checkpoint.validated_at = validated_at_;
  checkpoint.Write((fs::path(folder_) / kCheckpoint).string());
  checkpoint_at_ = iteration();
}

}  // namespace lseg
