// Graph: what a net computes, as a flat list of nodes over tensors. Layers add nodes, passes
// transform the list (framework/passes/passes.h), and the Net runs what is left.
//
// A node is an Op with the tensors it reads and writes. Every tensor is written by one node (a
// gradient by several, the first writing and the others adding, in list order), so the list is its
// own schedule. Memory is bound late: ops see pointers only when they run.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "framework/tensor.h"
#include "kernels/runtime/context.h"

namespace lseg {

using TensorId = int;
constexpr TensorId kNoTensor = -1;

enum class TensorKind {
  kInput,       // bound by the caller or a DataSource before a run
  kActivation,  // lives in the arena from its writer to its last reader; gradients of such, too
  kParam,       // learned; owned by the ParameterSet
  kParamGrad,   // gradient of a param: kept between runs, accumulated over iter_size of them
  kState,  // kept between runs: the solver's memory, packed weights, the step's number and rate
};

struct GraphTensor {
  std::string name;
  TensorDesc desc;
  TensorKind kind = TensorKind::kActivation;
  bool keep = false;  // an activation whose value is wanted after the run
};

// Pointers of one run. An output with mode kSkip has a null pointer.
struct OpArgs {
  std::span<void* const> in;
  std::span<void* const> out;
  std::span<const GradMode> modes;  // one an output
  void* workspace = nullptr;

  const float* f32_in(int i) const { return static_cast<const float*>(in[i]); }
  float* f32_out(int i) const { return static_cast<float*>(out[i]); }
};

// input coordinate = scale * output coordinate + shift, along one spatial axis (pixel centres).
struct AxisMap {
  double scale = 1, shift = 0;
};

class EngineCache;

// What ops need in order to get ready: where they will run, and which engines to take.
struct PrepareContext {
  Context& context;
  // By "<layer> <direction>". Choices found here are obeyed; others are made and entered, so that a
  // resumed run repeats them, and so are those of engines that cannot run their case here: of a run
  // on another device.
  std::map<std::string, std::string>& engines;
  bool measure = false;          // choose by timing rather than by the table's order
  bool unproven = false;         // NetOptions::unproven_engines
  EngineCache* cache = nullptr;  // of what was timed before; may be null
  bool allow_tf32 = false;       // convolutions of f32 may multiply in tf32
  std::string library;           // engine of a library for all cases that it supports; "": none
  std::vector<std::string> replaced = {};  // "<layer> <direction>: <engine>", in place of which
                                           // another was chosen
};

// Between convolutions activations have the blocked format and the dtype of the trunk; everywhere
// else they are NCHW in f32.
struct FormatPolicy {
  Format blocked = Format::kNCHW;
  DType trunk = DType::kF32;
  const Context* context = nullptr;  // of the device whose engines there are to choose from
};

class GradientBuilder;
struct BinLosses;
struct BoxCopyParams;
struct BoxCopyPart;
class ConvPlan;
struct ConvParams;
struct DeconvParams;
struct PoolParams;

class Op {
 public:
  virtual ~Op() = default;
  virtual std::string Name() const = 0;  // "conv_forward"

  // Called by assign_formats with the formats and types that the inputs have. Changes `in` to those
  // the op takes and sets `out` to those it gives. Default: everything in NCHW, floats in f32.
  virtual void ChooseFormats(const FormatPolicy& policy, std::span<TensorDesc> in,
                             std::span<TensorDesc> out) const;

  // Called once when formats are final: makes the plans of the kernels.
  virtual void Prepare(PrepareContext& /*prepare*/, std::span<const TensorDesc> /*in*/,
                       std::span<const TensorDesc> /*out*/) {}
  // Called after Prepare: corrects the shape of outputs whose extent only the plan knows.
  virtual void SettleOutputs(std::span<TensorDesc> /*out*/) const {}
  virtual int64_t WorkspaceBytes() const { return 0; }
  // The plan for which an input, a weight, is to be packed; null: it is taken as it is.
  virtual const ConvPlan* PackedFor(int /*input*/) const { return nullptr; }
  // True where output may lie in the memory of input, whose value the op is the last to need.
  virtual bool InPlace(int /*output*/, int /*input*/) const { return false; }
  // Fuses a ReLU, or a crop of height and width, that follows; false where the op cannot.
  virtual bool AbsorbRelu() { return false; }
  virtual bool AbsorbCrop(const BoxCopyParams& /*crop*/) { return false; }
  virtual bool IsRelu() const { return false; }
  // The same for gradients. IsReluGradient: from a ReLU's output and the gradient of that, inputs 0
  // and 1, makes the gradient before the ReLU. AbsorbReluGradient: the op, which writes or adds to
  // a gradient, now does that to the sum as well; what the ReLU gave becomes its last input.
  virtual bool IsReluGradient() const { return false; }
  virtual bool AbsorbReluGradient() { return false; }
  virtual bool IsSigmoid() const { return false; }
  // Only a mark: what reads the output reads the input, to which it gives no gradient
  // (TakeOutStops).
  virtual bool StopsGradient() const { return false; }
  // What passes that replace several nodes by one look for: the op's parameters, null where it is
  // no such op (forward only).
  virtual const ConvParams* AsConv() const { return nullptr; }
  virtual const DeconvParams* AsDeconv() const { return nullptr; }
  virtual const PoolParams* AsPool() const { return nullptr; }
  virtual const std::vector<BoxCopyPart>* AsBoxCopies() const { return nullptr; }
  virtual const BinLosses* AsBinLosses() const { return nullptr; }

  // Where output element (y, x) of output 0 lies in input 0; nothing for ops without such a map.
  virtual std::optional<AxisMap> Map(bool /*vertical*/) const { return std::nullopt; }

  // Adds the nodes that carry gradients from this node's outputs to its inputs. Default: the op has
  // none, and asking for one is an Error.
  virtual void AddGradient(GradientBuilder& builder) const;

  virtual void Run(Context& context, const OpArgs& args) const = 0;
};

enum class Stage { kPack, kForward, kBackward, kUpdate };

struct Node {
  std::string layer;  // name or, where it has none, top of the layer that added it
  std::unique_ptr<Op> op;
  std::vector<TensorId> inputs, outputs;
  std::vector<GradMode> modes;  // one an output
  Stage stage = Stage::kForward;
  std::vector<int> stopped = {};  // places in inputs that get no gradient from this node

  bool Stops(int input) const {
    return std::find(stopped.begin(), stopped.end(), input) != stopped.end();
  }
};

class Graph {
 public:
  TensorId AddTensor(GraphTensor tensor);
  // All outputs written (mode kWrite).
  Node& AddNode(std::string layer, std::unique_ptr<Op> op, std::vector<TensorId> inputs,
                std::vector<TensorId> outputs, Stage stage = Stage::kForward);

  // The node that writes a tensor first, or null: inputs and parameters have none.
  const Node* Writer(TensorId id) const;
  // Places in `nodes` of those that read a tensor, in their order: one a read.
  std::vector<size_t> Readers(TensorId id) const;
  std::vector<TensorDesc> Descs(const std::vector<TensorId>& ids) const;

  std::vector<GraphTensor> tensors;
  std::vector<Node> nodes;
  std::map<TensorId, TensorId> gradient_of;  // tensor or param -> its gradient
  // f32, by which losses multiply their gradients and the update divides them; kNoTensor: nothing.
  TensorId loss_scale = kNoTensor;
  // i32, the number of the batch that runs; kNoTensor: nothing asks for it.
  TensorId batch = kNoTensor;
};

// What an op uses to add its gradient nodes.
class GradientBuilder {
 public:
  GradientBuilder(Graph& graph, const std::vector<bool>& wanted, size_t node)
      : graph_(graph), wanted_(wanted), node_(node) {}

  TensorId input(int i) const { return graph_.nodes[node_].inputs[i]; }
  TensorId output(int i) const { return graph_.nodes[node_].outputs[i]; }
  int inputs() const { return static_cast<int>(graph_.nodes[node_].inputs.size()); }
  int outputs() const { return static_cast<int>(graph_.nodes[node_].outputs.size()); }
  const TensorDesc& desc(TensorId id) const { return graph_.tensors[id].desc; }

  TensorId loss_scale() const { return graph_.loss_scale; }

  // Gradient of an output, kNoTensor where none flows in.
  TensorId OutputGradient(int i) const;
  // Whether anybody wants the gradient of an input.
  bool Wanted(int i) const;
  // Whether an input is fed from outside: nothing learns behind it.
  bool IsNetInput(int i) const { return graph_.tensors[input(i)].kind == TensorKind::kInput; }
  // A tensor for gradients on their way, described like `like`.
  TensorId AddTemporary(TensorId like);
  TensorId AddPlainTemporary(TensorId like);  // of its shape, in NCHW and f32
  void AddNode(std::unique_ptr<Op> op, std::vector<TensorId> inputs, std::vector<TensorId> outputs);
  // Adds a node whose outputs are the gradients of the named inputs of this node: written where
  // they are the first, added where others came before, skipped where nobody wants them.
  void AddGradientNode(std::unique_ptr<Op> op, std::vector<TensorId> inputs,
                       const std::vector<int>& gradients_of);

 private:
  Graph& graph_;
  const std::vector<bool>& wanted_;
  size_t node_;
};

}  // namespace lseg
