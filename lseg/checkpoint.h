// Checkpoint: a training between two steps, whole: going on from it gives what the unbroken run
// would have given. It is a weights file with more in it, so lseg_infer reads it as well.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "framework/weights.h"
#include "lseg/train_plan.h"

namespace lseg {

struct Checkpoint {
  // Parameters with their model's metadata, and what Solver::Store adds.
  WeightsFile tensors;
  TrainPlan plan;
  std::map<std::string, std::string> engines;  // of the training net: Net::engines()
  std::string list_text;     // of plan.TrainingList(): a resumed run must find it unchanged
  double best_mean = -1;     // of the validations so far; below 0: none
  int64_t validated_at = 0;  // iteration of the latest

  // By the metadata keys lseg.plan, lseg.engines, lseg.list, lseg.best_mean, lseg.validated_at,
  // which are set in `tensors`: a copy of them would be large.
  void Write(const std::string& path);
  // Throws Error, naming the path, where the file is damaged or no checkpoint.
  static Checkpoint Read(const std::string& path);
};

}  // namespace lseg
