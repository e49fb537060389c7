// TrainPlan: everything that decides what a training computes, settled before it starts and kept in
// its checkpoint, so that a resumed run repeats the unbroken one whatever became of the files and
// flags since.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "framework/definition.h"
#include "framework/solver_definition.h"
#include "kernels/runtime/check.h"
#include "kernels/runtime/context.h"
#include "lseg/image.h"

namespace lseg {

// As a user says it; what is not given follows from the solver, or is the built-in way.
struct TrainOptions {
  std::optional<std::string> data, val;     // lists
  std::optional<std::string> solver, net;   // prototxt files
  std::optional<std::string> weights;       // to start from
  std::optional<std::string> classes;       // "EX,HE": names, instead of the definition's
  std::optional<int64_t> iterations;        // instead of the solver's max_iter
  std::optional<std::pair<int, int>> crop;  // width, height
  std::optional<int64_t> seed;              // instead of the solver's random_seed
  std::optional<int64_t> val_every;         // instead of the solver's test_interval
  std::optional<int64_t> checkpoint_every;  // instead of the solver's snapshot; 0: only at the end
  std::optional<int> threads;
  std::optional<std::string> device;     // "cpu" (where not given) or "cuda"
  std::optional<std::string> precision;  // of ParsePrecision; "f32" where not given
  std::optional<std::string> engine;  // of convolutions: "own" (where not given), "cudnn", "cublas"
  std::optional<bool> tune;           // choose engines by timing
  // Bytes that the process may have in memory, for training on the CPU; 0: what it has and what is
  // available. Changes no bit of the outcome, so it is no part of the plan.
  int64_t memory_limit = 0;
  std::optional<int64_t> max_pixels;  // of an image; kMaxPixels (lseg/image.h) where not given
};

// Options that no training can obey together, or with the definitions or the checkpoint.
class OptionsError : public Error {
 public:
  using Error::Error;
};

struct TrainPlan {
  std::string net_name, net_text;  // name: the path, or "built-in net"
  std::string solver_name, solver_text;
  // Of the net that is validated and written into weights files; the net above but where the solver
  // names another. The stages and the level of the solver's test_state are in its text.
  std::string test_net_name, test_net_text;
  // Lists, with their whole paths. data is empty where the net's data layer says it, val where
  // there is no validation or where the test net's data layer says it.
  std::string data, val, weights;
  std::vector<std::string> classes;  // what the net tells apart
  // Whether crops are drawn and varied here (lseg/augment.h); otherwise a data layer of the net
  // feeds it, and nothing is added to what that says.
  bool augment = true;
  int crop_width = 448, crop_height = 448;
  int64_t iterations = 0, seed = 1;
  int64_t val_every = 0;         // 0: no validation
  int64_t checkpoint_every = 0;  // 0: only at the end
  int threads = 1;
  std::string device = "cpu", precision = "f32", engine = "own";
  bool tune = false;
  // Decides only whether an image is read at all, and is not kept in the checkpoint.
  int64_t max_pixels = kMaxPixels;

  Device OnDevice() const;
  std::string Library() const { return engine == "own" ? "" : engine; }  // of NetOptions
  NetDefinition Net() const;  // with `data` for its data layer's source
  NetDefinition TestNet() const;
  std::string TrainingList() const;            // data, or the source of Net()'s data layer
  SolverDefinition Solver() const;             // as written
  caffe::SolverParameter SolverParam() const;  // with `iterations` and `seed`

  std::string ToJson() const;
  static TrainPlan FromJson(const std::string& text);
};

// Settles the options. `notes` are lines for the log: fields that are ignored, and what replaces
// what. Throws Error for files that cannot be read, OptionsError for options that contradict one
// another.
TrainPlan MakePlan(const TrainOptions& options, std::vector<std::string>* notes);

// Throws OptionsError where an option is given that the plan of a started training contradicts. A
// number of threads may differ: it replaces the plan's.
void ApplyToResumed(const TrainOptions& options, TrainPlan* plan, std::vector<std::string>* notes);

}  // namespace lseg
