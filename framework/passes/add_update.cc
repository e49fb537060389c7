// The solver's step as two nodes: the norm of the whole gradient, and the update of all parameters.
// Rate and iteration are read from memory when the step runs, so a recorded iteration can be
// replayed.
#include "framework/passes/passes.h"
#include "kernels/update.h"

namespace lseg {
namespace {

// Inputs: loss scale, losses, gradients. Output: norm.
class GradientNormOp : public Op {
 public:
  explicit GradientNormOp(int losses) : losses_(losses) {}
  std::string Name() const override { return "gradient_norm"; }
  void Prepare(PrepareContext&, std::span<const TensorDesc> in,
               std::span<const TensorDesc>) override {
    for (const TensorDesc& desc : in.subspan(1 + losses_)) {
      tensors_.push_back({.count = desc.shape.Count()});
    }
  }
  void Run(Context& context, const OpArgs& args) const override {
    std::vector<UpdateTensor> tensors = tensors_;
    std::vector<const float*> losses;
    for (int i = 0; i < losses_; ++i) losses.push_back(args.f32_in(1 + i));
    for (size_t i = 0; i < tensors.size(); ++i) {
      tensors[i].grad = args.f32_in(1 + losses_ + static_cast<int>(i));
    }
    GradientNorm(context, tensors, args.f32_out(0), args.f32_in(0), losses);
  }

 private:
  int losses_;
  std::vector<UpdateTensor> tensors_;
};

// Inputs: step, norm, loss scale, gradients. Outputs: values, then the solver's memory, tensor by
// tensor.
class UpdateOp : public Op {
 public:
  UpdateOp(UpdateParams params, std::vector<UpdateTensor> tensors, int states)
      : params_(params), tensors_(std::move(tensors)), states_(states) {}
  std::string Name() const override { return "update"; }
  void Run(Context& context, const OpArgs& args) const override {
    std::vector<UpdateTensor> tensors = tensors_;
    const int count = static_cast<int>(tensors.size());
    for (int i = 0; i < count; ++i) {
      tensors[i].grad = args.f32_in(3 + i);
      tensors[i].value = args.f32_out(i);
      tensors[i].state1 = args.f32_out(count + i * states_);
      if (states_ > 1) tensors[i].state2 = args.f32_out(count + i * states_ + 1);
    }
    Update(context, params_, tensors, static_cast<const StepState*>(args.in[0]), args.f32_in(1),
           args.f32_in(2));
  }

 private:
  UpdateParams params_;
  std::vector<UpdateTensor> tensors_;
  int states_;
};

UpdateParams ToUpdateParams(const caffe::SolverParameter& solver) {
  UpdateParams params;
  params.method =
      solver.type() == "Adam" ? UpdateParams::Method::kAdam : UpdateParams::Method::kSgd;
  params.regularization = solver.regularization_type() == "L1" ? UpdateParams::Regularization::kL1
                                                               : UpdateParams::Regularization::kL2;
  params.momentum = solver.momentum();
  params.momentum2 = solver.momentum2();
  params.delta = solver.delta();
  params.weight_decay = solver.weight_decay();
  params.clip_gradients = solver.clip_gradients();
  params.iter_size = static_cast<int>(solver.iter_size());
  params.Validate();
  return params;
}

}  // namespace

UpdateTensors AddUpdate(Graph& graph, const std::vector<NetLoss>& losses,
                        const std::vector<NetParam>& params, const caffe::SolverParameter& solver) {
  const UpdateParams update = ToUpdateParams(solver);
  const int states = update.method == UpdateParams::Method::kAdam ? 2 : 1;
  UpdateTensors tensors;
  std::vector<TensorId> gradients, values, memory;
  std::vector<UpdateTensor> updates;
  for (const NetParam& param : params) {
    const auto gradient = graph.gradient_of.find(param.tensor);
    if (gradient == graph.gradient_of.end()) continue;
    const TensorDesc desc = graph.tensors[param.tensor].desc;
    gradients.push_back(gradient->second);
    values.push_back(param.tensor);
    updates.push_back(
        {.count = desc.shape.Count(), .lr_mult = param.lr_mult, .decay_mult = param.decay_mult});
    for (int s = 1; s <= states; ++s) {
      const std::string name = param.key + ":" + std::to_string(s);
      tensors.state[name] = graph.AddTensor({name, desc, TensorKind::kState});
      memory.push_back(tensors.state[name]);
    }
  }
  if (values.empty()) return tensors;
  LSEG_CHECK(losses.size() <= static_cast<size_t>(kMostLosses),
             "a net learns from " << kMostLosses << " losses at most: it has " << losses.size()
                                  << ", the last of them '" << losses.back().name << "'");
  tensors.step =
      graph.AddTensor({"step", {{1, 1, 1, sizeof(StepState)}, DType::kU8}, TensorKind::kState});
  tensors.norm = graph.AddTensor({"gradient norm", {{1, 1, 1, 1}}, TensorKind::kState});
  std::vector<TensorId> scaled = {graph.loss_scale};
  for (const NetLoss& loss : losses) scaled.push_back(loss.tensor);
  scaled.insert(scaled.end(), gradients.begin(), gradients.end());
  graph.AddNode("solver", std::make_unique<GradientNormOp>(static_cast<int>(losses.size())),
                std::move(scaled), {tensors.norm}, Stage::kUpdate);
  std::vector<TensorId> inputs = {tensors.step, tensors.norm, graph.loss_scale};
  inputs.insert(inputs.end(), gradients.begin(), gradients.end());
  values.insert(values.end(), memory.begin(), memory.end());
  graph.AddNode("solver", std::make_unique<UpdateOp>(update, std::move(updates), states),
                std::move(inputs), std::move(values), Stage::kUpdate);
  return tensors;
}

}  // namespace lseg
