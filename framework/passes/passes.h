// Passes: graph -> graph, each with one job, in the order in which the Net runs them. Each leaves
// the numbers as they are, but for rounding where it says so.
#pragma once

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "framework/graph.h"
#include "framework/layer.h"

namespace lseg {

// A ReLU whose input nobody else reads becomes part of the op that writes it.
void FuseConvRelu(Graph& graph);

// Copies of boxes that need not be: of a whole tensor, where the original serves; the crop behind a
// deconvolution, which then makes no more than is wanted; and those that are only copied from again
// (slices of side maps on their way to a concat), where the copies can be taken from the original.
// A gradient of which a copy's is a part is added up in another order: it differs by rounding.
void FoldCopies(Graph& graph);

// Concats of one class' planes of several side maps, a 1x1 convolution of each to one plane, and
// the concat of these, as one op that reads the side maps; for training, what FoldHead is to
// inference. Sums of weights' gradients are taken in another order: they differ by rounding.
void FuseSides(Graph& graph);

// Bin losses of one shape against one label, as those of L-Seg's side maps, as one op.
void JoinLosses(Graph& graph);

// Settles the memory format and the type of every activation: each op says what it takes and gives,
// and a reorder is put where two differ. The policy's run from convolution to convolution without
// one.
void AssignFormats(Graph& graph, const FormatPolicy& policy);

// L-Seg's head (score maps to probabilities) as one op, for inference. Valid for the values that
// `parameters` hold now: where they change, the net is built anew. Within 1e-5 max(1, largest |z|)
// of the logits z. Returns why not where only the weights are against it; a net without such a head
// stays as it is without a word.
std::string FoldHead(Graph& graph, const std::map<TensorId, const Tensor*>& parameters);

// Places among the inputs of the folded head's node, "fuse_head". A score map may come as several,
// behind one another along N, to be added up; its bias then comes here, too.
struct FoldedHeadInputs {
  static constexpr int kWeight = 0, kBias = 1;  // (1,1,C,levels), (1,1,1,C)
  static constexpr int Score(int level) { return 2 + 3 * level; }
  static constexpr int ScoreBias(int level) { return 3 + 3 * level; }  // may be kNoTensor
  static constexpr int SideBias(int level) { return 4 + 3 * level; }   // likewise
};

// A stage's last convolution, with the pooling and the score layer that read it, as one op, for
// inference with a folded head: the map of full size is never written. Where an engine of the
// device can do so. Sums of scores are taken in another order: they differ by rounding.
void FuseStageEnds(Graph& graph, const Context& context, const FormatPolicy& policy);

// How convolutions are chained.
struct ChainOptions {
  int stages = 1;              // of a chain: it ends behind so many pooled maps
  int64_t strip_tiles = 1024;  // of 4x4 outputs of its last convolution, at least, a strip
  bool bands = true;           // each thread by itself where that costs little (ConvChainBands)
};

// From the fastest to what needs the least memory.
const std::vector<ChainOptions>& ChainLadder();

// Convolutions of which each reads the one before as one op that runs in strips of rows
// (framework/layers/conv_chain.h), for inference, where the device has engines that can. engines:
// choices by "<layer> forward"; a convolution that was given another engine stays alone. After
// AssignFormats. Bits stay what they are.
void ChainConvs(Graph& graph, const Context& context,
                const std::map<std::string, std::string>& engines, const ChainOptions& options);

// Takes the marks of propagate_down: false out again (Op::StopsGradient), and notes at the nodes
// behind them which inputs get no gradient. After the passes that merge nodes, which take a mark
// for an op that they do not know; before gradients are added.
void TakeOutStops(Graph& graph);

// Adds the gradient nodes of all losses down to the parameters that learn (and the inputs, where
// inputs_too), last layer first. A gradient has the format of what it is the gradient of.
void AddGradients(Graph& graph, const std::vector<NetLoss>& losses,
                  const std::vector<NetParam>& params, bool inputs_too);

// A ReLU's gradient becomes part of the op that writes or adds last to the gradient of its output,
// where nobody else reads that.
void FuseReluGradients(Graph& graph);

// The gradients of a stage's last map, from its score layer and from the pooling behind it, with
// the ReLU's and those of the score layer's parameters, as one op (kernels/stage_gradient.h). After
// FuseReluGradients. The map's gradient is rounded once instead of twice, and sums of the
// parameters' are taken in another order: they differ by rounding.
void FuseStageGradients(Graph& graph);

// Gradients that take more memory than they free are computed as late as others allow. Bits stay
// what they are.
void DelayGradients(Graph& graph);

// Maps of convolutions that the backward pass reads, and that cost at most so many multiply-adds an
// element, are computed again there instead of kept; those of the first layer, with
// kRecomputeFirst. Bits stay what they are.
constexpr int64_t kRecomputeFirst = 32;
void Recompute(Graph& graph, int64_t multiply_adds);

// The tensors by which the Net steers the update nodes and reads their outcome.
struct UpdateTensors {
  TensorId step = kNoTensor;              // StepState: rate and iteration, written before a step
  TensorId norm = kNoTensor;              // f32: norm of the gradient
  std::map<std::string, TensorId> state;  // solver's memory: "conv1_1.weight:1"
};

// Adds the norm of the gradient and the solver's step over all parameters that learn; no nodes, and
// no tensors in the result, where none does. Where a loss or the gradient is not finite the step
// changes nothing.
UpdateTensors AddUpdate(Graph& graph, const std::vector<NetLoss>& losses,
                        const std::vector<NetParam>& params, const caffe::SolverParameter& solver);

// Ops make their plans. What keeps one from it is an Error that names its layer of the definition.
void PrepareOps(Graph& graph, const NetDefinition& definition, PrepareContext& prepare);

// Ops that take a weight in packed form get a node that packs it: once a change of the parameters
// in inference (the packed copy stays), or before use in training (it lives in the arena): just
// before, or, `together`, one node for all that a stage uses.
void PackWeights(Graph& graph, bool training, bool together);
// Parameters that no run reads, in inference: those that are packed, and what passes folded away.
std::vector<TensorId> UnreadByRuns(const Graph& graph);

// Where everything lies. All sizes in bytes.
struct MemoryPlan {
  std::vector<int64_t> offsets;  // in the arena, by tensor; -1: not there
  int64_t arena = 0;             // activations and their gradients, overlapped by lifetime
  int64_t workspace = 0;         // the largest of any node
  int64_t parameters = 0, gradients = 0, states = 0, inputs = 0;
  int64_t released = 0;  // parameters, not counted above, that are gone when the net first runs
  int64_t without_reuse = 0;  // what the arena would be if nothing were overlapped
  // The most at a time beside the parameters that stay: in a run, or while weights are packed.
  int64_t Running() const { return arena + workspace + gradients + states + inputs; }
  int64_t Packing() const { return released + states; }
  int64_t BesideParameters() const { return std::max(Running(), Packing()); }
  int64_t Total() const { return BesideParameters() + parameters; }
};
// "1613 MB (activations 1354 MB, workspace 20 MB, ...)": the total, and its parts that are not 0.0;
// those of packing where that is the most.
std::string ToString(const MemoryPlan& plan);
// "1613 MB"; below 10 MB with a digit behind the point.
std::string Megabytes(int64_t bytes);

// Lifetimes along the list, then offsets: larger tensors first, each at the lowest place that is
// free for its whole life. Outputs in place where the op allows it and the input dies there.
MemoryPlan PlanMemory(const Graph& graph, const std::vector<TensorId>& released);

}  // namespace lseg
