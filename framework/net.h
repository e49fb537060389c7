// Net: a definition made runnable. Builds the graph from the layers, runs the passes over it, plans
// memory, and then runs the flat list of nodes.
//
//   auto parameters = std::make_shared<ParameterSet>();
//   Net net(NetDefinition::FromFile("net.prototxt"), registry, context, parameters, options);
//   std::copy(..., net.Input("data"));
//   net.Forward();
//   const float* answer = net.Output("prob");
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "framework/data_source.h"
#include "framework/engine_cache.h"
#include "framework/layer.h"
#include "framework/passes/passes.h"
#include "kernels/runtime/event.h"
#include "kernels/runtime/recording.h"

namespace lseg {

// What the trunk's activations are stored and multiplied in; sums, parameters, losses and the
// solver's memory are f32 always. Which ones a device has, MissingForConvs tells (conv_dtypes.h);
// kTf32 is a GPU's.
enum class Precision { kF32, kTf32, kBF16, kF16 };
std::string ToString(Precision precision);          // "f32", "tf32", "bf16", "f16"
Precision ParsePrecision(const std::string& name);  // the reverse; an Error for other names

struct NetOptions {
  caffe::Phase phase = caffe::TEST;
  int level = 0;
  std::vector<std::string> stages;
  // With a solver the net is trainable: gradients of all losses, and the update, are part of it.
  const caffe::SolverParameter* solver = nullptr;
  uint64_t seed = 1;                         // of the fillers and data layers
  std::map<std::string, TensorDesc> inputs;  // in place of what Input layers say (f32)
  std::vector<std::string> keep;             // blobs to be read after a run, beside the outputs
  // Choices to obey: Net::engines() of an earlier run. A note where this device lacks some of them:
  // those are made anew.
  std::map<std::string, std::string> engines;
  bool measure_engines = false;
  // Measures those, too, that no GPU has run yet (ConvEngine::unproven), and neither looks in the
  // cache nor keeps anything there.
  bool unproven_engines = false;
  EngineCache* engine_cache =
      nullptr;  // where measured choices are looked up and kept; may be null
  // "cudnn" or "cublas" (kernels/conv_libraries.h): runs the convolutions that it supports, none of
  // them merged with what follows at a stage's end, or with a ReLU's gradient. "": own kernels, but
  // where a layer asks for it.
  std::string library;
  Precision precision = Precision::kF32;
  // Told of the plan before any of its memory is taken, for a log.
  std::function<void(const MemoryPlan&)> planned;
  bool scale_losses = false;  // the gradients can be scaled (SetLossScale); in kF16 always
  // In inference: packs the weights when the net is made, and gives the memory of the parameters
  // that no run reads then back (ParameterSet::Release), before there is any for activations. The
  // set is this net's alone: another would miss them.
  bool release_packed = false;
  // How convolutions are chained in inference: the first of these with which the net's memory,
  // parameters included, is within memory_limit (bytes; 0: no limit, on a GPU its free memory).
  std::vector<ChainOptions> chains = {ChainOptions{}};
  // Likewise, in training on the CPU, what is computed again rather than kept (Recompute).
  std::vector<int64_t> recompute = {kRecomputeFirst};
  int64_t memory_limit = 0;
  // Passes to leave out, by name, for tests and for measuring what they bring: "fold_head",
  // "fuse_conv_relu", "fold_copies", "fuse_sides" (finds nothing without "fold_copies"),
  // "join_losses", "fuse_stage_ends", "fuse_relu_gradients", "fuse_stage_gradients",
  // "delay_gradients", "assign_formats" (everything stays NCHW; no stage is fused then),
  // "chain_convs", "recompute".
  std::set<std::string> without_passes;
};

// How long one run of a node took.
struct NodeTime {
  std::string layer, op;
  double seconds = 0;
  int64_t bytes = 0;  // of the tensors that it reads and writes
};

class Net {
 public:
  // Errors of the definition name file, line, layer and rule. OutOfMemory where the limit, or
  // a GPU's free memory, is less than the plan; nothing was allocated then but the parameters.
  Net(const NetDefinition& definition, const LayerRegistry& registry, Context& context,
      std::shared_ptr<ParameterSet> parameters, const NetOptions& options);
  ~Net();

  // Memory of an input on the host, NCHW in the dtype of its desc; write it before Forward, which
  // brings it to the device each time and has done so when it returns.
  void* Input(const std::string& blob);
  float* InputF32(const std::string& blob) { return static_cast<float*>(Input(blob)); }
  bool HasInput(const std::string& blob) const { return InputTensor(blob) != kNoTensor; }
  // Feeds inputs from a source of the caller's (which outlives the net) instead.
  void AttachSource(DataSource* source, const std::vector<std::string>& blobs);
  void AttachSource(DeviceSource* source, const std::vector<std::string>& blobs);
  // Takes batch `iteration` from all sources: those of data layers and those attached. What layers
  // draw at random (Dropout) belongs to the number of the batch, too.
  void Fetch(int64_t iteration);
  // Seconds that Fetch waited for sources that were too slow (Prefetcher).
  double WaitedSeconds() const;

  void Forward();
  // Gradients of sum over losses of weight * loss, once after each Forward: what that left for it
  // is overwritten. accumulate: parameter gradients are added to those of the last call
  // (iter_size).
  void Backward(bool accumulate = false);
  // Whether a loss reaches a parameter whose lr_mult is not 0, and there is a solver.
  bool Learns() const { return update_.step != kNoTensor; }
  // Whether the losses' gradients, and all that follow from them, are multiplied by a scale; 1
  // until it is set. A step takes it off again, and Gradient and the norm know nothing of it.
  bool ScalesLosses() const { return parts_.graph.loss_scale != kNoTensor; }
  void SetLossScale(float scale);
  // Queues one step of the solver on the parameters; where a loss of the last Forward or the
  // gradient is not finite nothing is updated.
  void Update(float learning_rate, int64_t iteration);
  // Before clipping, of the last Update; waits for it. Not finite where nothing was updated.
  float GradientNorm() const;

  // Sum over losses of weight * loss after Forward; each loss by name in losses().
  double Loss() const;
  float LossValue(int i) const;
  const std::vector<NetLoss>& losses() const { return parts_.losses; }

  // A blob after a run, as dense NCHW f32: an output, or one named in options.keep. Of
  // one that layers change in place, what the last of them makes; so below.
  std::vector<float> Read(const std::string& blob) const;
  // The same where it lies, or, on a GPU, in memory of the host that the net keeps for it; an Error
  // unless it is NCHW f32.
  const float* Output(const std::string& blob);
  const TensorDesc& Desc(const std::string& blob) const;
  bool HasBlob(const std::string& blob) const { return parts_.blobs.count(blob) > 0; }
  // Tops that no layer takes as a bottom, in the order of the definition.
  const std::vector<std::string>& outputs() const { return outputs_; }

  const std::vector<NetParam>& params() const { return parts_.params; }
  // Gradient of a parameter or of an input (force_backward) after Backward, dense, by key or name.
  std::vector<float> Gradient(const std::string& key) const;
  // The solver's memory by name ("conv1_1.weight:1"), to checkpoint and to resume.
  std::map<std::string, std::vector<float>> SolverState() const;
  // An Error where the net has no such tensor, or one of another size.
  void SetSolverState(const std::string& name, const std::vector<float>& values);
  // Parameters were changed from outside: packed copies are made anew before the next run. Not with
  // release_packed.
  void ParametersChanged();

  // Where the first value that is not finite stands, after a run that gave one: runs forward (and
  // backward) again, node by node. "layer 'conv3_1' (conv_forward)"; empty where all is finite.
  std::string FindNonFinite();

  // Every node that runs from now on adds its time, in the order in which they run; null: no more.
  // On a GPU each is then waited for.
  void RecordTimes(std::vector<NodeTime>* times) { times_ = times; }

  const std::vector<std::string>& notes() const { return parts_.notes; }
  const std::map<std::string, std::string>& engines() const { return engines_; }
  const MemoryPlan& memory() const { return plan_; }
  const Graph& graph() const { return parts_.graph; }

 private:
  // choice: of options.chains, or of options.recompute in training.
  void Compile(const NetDefinition& definition, const LayerRegistry& registry,
               const NetOptions& options, size_t choice);
  void RunPasses(const NetDefinition& definition, const NetOptions& options, size_t choice);
  void FindOutputs(const NetDefinition& definition);
  void FoldHeadOf(const NetDefinition& definition);
  void CheckFits(int64_t memory_limit) const;
  void AllocateKept();
  void AllocateArena();
  void Pack();
  void ReleaseParameters();
  void RunNode(const Node& node, bool accumulate);
  void Run(Stage stage, bool accumulate = false);
  void BringInputs();
  // The inputs of these names, which must be as a source describes them.
  std::vector<TensorId> InputsOf(const std::vector<TensorDesc>& descs,
                                 const std::vector<std::string>& blobs) const;
  float Scalar(int i) const;
  TensorId BlobTensor(const std::string& blob) const;
  // What is fed, whatever layers make of it in place; kNoTensor for other blobs.
  TensorId InputTensor(const std::string& blob) const;
  std::vector<float> ReadTensor(TensorId id) const;

  Context& context_;
  std::shared_ptr<ParameterSet> parameters_;
  NetParts parts_;
  std::vector<std::string> outputs_;
  std::map<std::string, std::string> engines_;
  UpdateTensors update_;
  std::vector<TensorId> released_;  // parameters that are not there any more
  MemoryPlan plan_;
  Buffer arena_, workspace_;
  std::vector<Tensor> owned_;  // inputs, parameter gradients, state
  // The losses, then the gradient's norm: side by side, so that one copy brings them to the host.
  Buffer scalars_;
  mutable std::vector<float> host_scalars_;
  mutable bool scalars_stale_ = true;
  float loss_scale_ = 1;
  HostBuffer step_;                              // StepState on its way to a GPU
  Event step_brought_;                           // behind the copy of it
  std::map<TensorId, HostBuffer> host_inputs_;   // of inputs that Input was asked for, on a GPU
  Event inputs_brought_;                         // behind the copies of them
  std::map<TensorId, HostBuffer> host_outputs_;  // of outputs that Output was asked for
  // A stage's work on a GPU, recorded at its second run (the first may still load code).
  std::map<std::pair<Stage, bool>, Recording> recordings_;
  std::set<std::pair<Stage, bool>> has_run_;
  std::vector<void*> memory_;  // by tensor id
  bool packs_stale_ = true;
  std::vector<NodeTime>* times_ = nullptr;

  struct Feed {
    std::unique_ptr<Prefetcher> prefetcher;
    std::vector<TensorId> tensors;
  };
  std::vector<Feed> feeds_;
  struct DeviceFeed {
    DeviceSource* source;
    std::vector<TensorId> tensors;
  };
  std::vector<DeviceFeed> device_feeds_;
};

}  // namespace lseg
