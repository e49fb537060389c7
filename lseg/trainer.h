// Trainer: a training from its plan to its weights files, with its log, its validations and its
// checkpoints, in one folder:
//
//   final.safetensors       the weights at the end
//   best.safetensors        those of the highest mean AUPR of a validation
//   checkpoint.safetensors  the weights, the solver's memory, and all that --resume needs
//   log.csv, val.csv, curves.svg   see lseg/train_log.h
//   <prefix>_iter_N.safetensors    each checkpoint's weights, where the solver has a
//   snapshot_prefix
//
// The same plan gives the same weights files, byte for byte, on the same build, kind of machine and
// number of threads, also where it was stopped and resumed in between.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "framework/net.h"
#include "framework/solver.h"
#include "lseg/checkpoint.h"
#include "lseg/device_training_data.h"
#include "lseg/train_log.h"
#include "lseg/train_memory.h"
#include "lseg/train_plan.h"
#include "lseg/training_data.h"
#include "lseg/validation.h"

namespace lseg {

class Trainer {
 public:
  using SayLine = std::function<void(const std::string&)>;

  // Starts anew in `folder`, which is made where it is not there; an Error where it holds a
  // training.
  static std::unique_ptr<Trainer> Start(const TrainOptions& options, const std::string& folder,
                                        SayLine say);
  // Goes on from the checkpoint in `folder`; an Error where there is none, or where an option
  // contradicts it.
  static std::unique_ptr<Trainer> Resume(const TrainOptions& options, const std::string& folder,
                                         SayLine say);

  // Does all that Start does before a training's first iteration but makes no folder, and says the
  // net layer by layer; writes it as a graph to `dot` too, unless that is "".
  static void DryRun(const TrainOptions& options, const std::string& dot, SayLine say);

  // Trains to the end, or until `stop` is not 0: then it writes a checkpoint and returns false. An
  // Error where a value is not finite names the layer and the iteration; the last checkpoint stays.
  bool Run(const std::atomic<int>& stop);

  int64_t iteration() const { return solver_->iteration(); }  // steps done

 private:
  static constexpr char kCheckpoint[] = "checkpoint.safetensors";

  // program: bytes of the process before anything was read; memory_limit: as in TrainOptions.
  struct Room {
    int64_t program, memory_limit;
  };
  static Room RoomOf(const TrainOptions& options);

  // Data and net; Begin does what is left before the first iteration.
  Trainer(const TrainPlan& plan, const Room& room, const std::string& folder, SayLine say,
          const Checkpoint* checkpoint);
  void Begin(const Checkpoint* checkpoint);

  LayerRegistry Layers() const;
  std::map<std::string, TensorDesc> Inputs() const;
  void MakeData();
  void UseDataLayer(const NetDefinition& net);
  void MakeNet(const Checkpoint* checkpoint);
  void TryMakeNet(const Checkpoint* checkpoint);
  // Told of the training net's plan: makes the validation, and settles what else there is to be.
  void PlanMemory(const MemoryPlan& plan);
  void LoadWeights();
  void PrepareValidation();
  void Restore(const Checkpoint& checkpoint);
  void Step();
  void SayProgress(float learning_rate);
  bool ValidationDue() const;
  // False where it was stopped.
  bool Validate(const std::atomic<int>& stop);
  WeightsFile Weights() const;
  void WriteCheckpoint();

  TrainPlan plan_;
  int64_t memory_limit_ = 0;  // 0: on a GPU
  TrainMemory memory_;
  std::string folder_;
  SayLine say_;
  SolverDefinition solver_definition_;
  caffe::SolverParameter solver_param_;
  Context context_;
  ModelInfo model_;
  std::string list_, list_text_;  // TrainPlan::TrainingList, and what it says
  std::shared_ptr<ParameterSet> parameters_ = std::make_shared<ParameterSet>(context_.device());
  // Crops made on the host, or on a GPU; both null: a data layer of the net feeds it.
  std::unique_ptr<TrainingData> data_;
  std::unique_ptr<DeviceTrainingData> device_data_;
  std::unique_ptr<Net> net_;
  std::unique_ptr<Solver> solver_;
  std::unique_ptr<Validation> validation_;  // null: none
  std::unique_ptr<TrainLog> log_;

  int64_t validated_at_ = 0, checkpoint_at_ = 0;  // iteration of the latest
  double best_mean_ = -1;
  int64_t images_per_step_ = 1;

  // For the progress line only.
  double seconds_ = 0, validation_seconds_ = 0;  // of the steps of this run, of the last validation
  int64_t steps_ = 0, empty_ = 0;                // of this run; without lesion since the last line
  std::vector<double> recent_;                   // losses since the last line
};

}  // namespace lseg
