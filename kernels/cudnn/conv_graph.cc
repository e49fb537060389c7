#include "kernels/cudnn/conv_graph.h"

#include <array>

namespace lseg::cudnn {
namespace {

// The tensors of a graph, by which data is given to it.
enum TensorId : int64_t { kSrc = 1, kWeight, kDst, kBias, kSums, kBiased };

constexpr int64_t kTensorAlignment = 16;  // bytes
constexpr int64_t kMostNotes = 64;        // more than cuDNN knows

cudnnDataType_t TypeOf(DType dtype) {
  return dtype == DType::kF32    ? CUDNN_DATA_FLOAT
         : dtype == DType::kBF16 ? CUDNN_DATA_BFLOAT16
                                 : CUDNN_DATA_HALF;
}

// How a direction's operation is called, and its operands.
struct Operation {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t src, weight, dst, convolution, alpha, beta;
};
Operation OperationOf(ConvDirection direction) {
  switch (direction) {
    case ConvDirection::kForward:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvDirection::kBackwardData:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvDirection::kBackwardWeights:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

// What keeps a way to compute from use; null where nothing does.
const char* Fault(const std::vector<cudnnBackendNumericalNote_t>& notes, bool exact) {
  for (const cudnnBackendNumericalNote_t note : notes) {
    switch (note) {
      case CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC:
        return "does not repeat";
      case CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS:
      case CUDNN_NUMERICAL_NOTE_REDUCED_PRECISION_REDUCTION:
        return "narrower type";
      case CUDNN_NUMERICAL_NOTE_FFT:
        return "FFT";
      case CUDNN_NUMERICAL_NOTE_WINOGRAD:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_4x4:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_6x6:
      case CUDNN_NUMERICAL_NOTE_WINOGRAD_TILE_13x13:
        return "Winograd";
      case CUDNN_NUMERICAL_NOTE_TENSOR_CORE:
        if (exact) return "tensor cores";
        break;
      default:
        break;
    }
  }
  return nullptr;
}

// The ways to compute a graph, the fastest by cuDNN's estimate first. Appends why there are none.
std::vector<Descriptor> Configurations(const Target& target, const Descriptor& graph,
                                       cudnnBackendHeurMode_t mode, std::string& why) {
  Descriptor heuristics(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
  heuristics.Set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph);
  heuristics.Set(CUDNN_ATTR_ENGINEHEUR_MODE, CUDNN_TYPE_HEUR_MODE, 1, &mode);
  target.SetOn(heuristics, std::nullopt, CUDNN_ATTR_ENGINEHEUR_DEVICEPROP);
  const cudnnStatus_t status = heuristics.TryFinalize();
  LSEG_CHECK(!IsOfTheMachine(status), "cuDNN: choice of an algorithm: " << Words(status));
  if (status != CUDNN_STATUS_SUCCESS) {
    why += Words(status) + "; ";
    return {};
  }

  int64_t count = 0;
  LSEG_CUDNN_CHECK(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                            CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr));
  std::vector<Descriptor> found;
  std::vector<cudnnBackendDescriptor_t> raw;
  for (int64_t i = 0; i < count; ++i) {
    raw.push_back(found.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).get());
  }
  LSEG_CUDNN_CHECK(cudnnBackendGetAttribute(heuristics.get(), CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                            CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count,
                                            raw.data()));
  found.erase(found.begin() + count, found.end());
  return found;
}

}  // namespace

Target::Target(const std::string& json) : properties_(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR) {
  properties_->Set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR,
                   static_cast<int64_t>(json.size()), json.data());
  properties_->Finalize();
}

void Target::SetOn(Descriptor& descriptor, std::optional<cudnnBackendAttributeName_t> by_handle,
                   std::optional<cudnnBackendAttributeName_t> by_properties) const {
  if (properties_ && by_properties) {
    descriptor.Set(*by_properties, *properties_);
  } else if (!properties_ && by_handle) {
    descriptor.Set(*by_handle, CUDNN_TYPE_HANDLE, 1, &handle_);
  }
}

ConvGraph::ConvGraph(const Target& target, const ConvParams& params, ConvDirection direction,
                     Plane plane, bool fused)
    : p_(params), plane_(plane), fused_(fused) {
  const std::vector<cudnnBackendDescriptor_t> operations = Operations(direction);
  Descriptor& graph = Keep(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.Set(CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR,
            static_cast<int64_t>(operations.size()), operations.data());
  target.SetOn(graph, CUDNN_ATTR_OPERATIONGRAPH_HANDLE, std::nullopt);
  const cudnnStatus_t status = graph.TryFinalize();
  if (IsUnsupported(status)) {
    why_ = Words(status);
    return;
  }
  LSEG_CHECK(status == CUDNN_STATUS_SUCCESS, "cuDNN: graph of operations: " << Words(status));
  Choose(target, graph, plane.dtype == DType::kF32 && !params.allow_tf32);
}

const Descriptor& ConvGraph::Tensor(int64_t id, const Shape& s, DType dtype, bool is_virtual) {
  Descriptor& tensor = Keep(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  const bool nhwc = plane_.layout == Format::kNHWC;
  const int64_t dims[] = {s.n, s.c, s.h, s.w};
  const int64_t strides[] = {s.c * s.h * s.w, nhwc ? 1 : s.h * s.w, nhwc ? s.w * s.c : s.w,
                             nhwc ? s.c : 1};
  tensor.Set(CUDNN_ATTR_TENSOR_DATA_TYPE, TypeOf(dtype));
  tensor.Set(CUDNN_ATTR_TENSOR_DIMENSIONS, dims);
  tensor.Set(CUDNN_ATTR_TENSOR_STRIDES, strides);
  tensor.Set(CUDNN_ATTR_TENSOR_UNIQUE_ID, id);
  tensor.Set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, kTensorAlignment);
  tensor.Set(CUDNN_ATTR_TENSOR_IS_VIRTUAL, CUDNN_TYPE_BOOLEAN, 1, &is_virtual);
  tensor.Finalize();
  return tensor;
}

const Descriptor& ConvGraph::Convolution() {
  Descriptor& convolution = Keep(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  const cudnnConvolutionMode_t mode = CUDNN_CROSS_CORRELATION;
  const int64_t strides[] = {p_.stride_h, p_.stride_w}, pads[] = {p_.pad_h, p_.pad_w},
                dilations[] = {p_.dilation_h, p_.dilation_w};
  convolution.Set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, CUDNN_DATA_FLOAT);
  convolution.Set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, CUDNN_TYPE_CONVOLUTION_MODE, 1, &mode);
  convolution.Set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, int64_t{2});
  convolution.Set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, strides);
  convolution.Set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, pads);
  convolution.Set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, pads);
  convolution.Set(CUDNN_ATTR_CONVOLUTION_DILATIONS, dilations);
  convolution.Finalize();
  return convolution;
}

const Descriptor& ConvGraph::Pointwise(cudnnPointwiseMode_t mode, const Descriptor& in,
                                       const Descriptor* bias, const Descriptor& out) {
  Descriptor& kind = Keep(CUDNN_BACKEND_POINTWISE_DESCRIPTOR);
  kind.Set(CUDNN_ATTR_POINTWISE_MODE, CUDNN_TYPE_POINTWISE_MODE, 1, &mode);
  kind.Set(CUDNN_ATTR_POINTWISE_MATH_PREC, CUDNN_DATA_FLOAT);
  kind.Finalize();
  Descriptor& operation = Keep(CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR);
  operation.Set(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, kind);
  operation.Set(CUDNN_ATTR_OPERATION_POINTWISE_XDESC, in);
  if (bias != nullptr) operation.Set(CUDNN_ATTR_OPERATION_POINTWISE_BDESC, *bias);
  operation.Set(CUDNN_ATTR_OPERATION_POINTWISE_YDESC, out);
  operation.Finalize();
  return operation;
}

std::vector<cudnnBackendDescriptor_t> ConvGraph::Operations(ConvDirection direction) {
  const Shape dst_shape = p_.Dst();
  const Descriptor& src = Tensor(kSrc, p_.src, plane_.dtype);
  const Descriptor& weight = Tensor(kWeight, p_.Weight(), plane_.dtype);
  const Descriptor& dst = Tensor(kDst, dst_shape, plane_.dtype);
  // What lies between fused operations never is in memory: it keeps the sums' type.
  const Descriptor& sums = fused_ ? Tensor(kSums, dst_shape, DType::kF32, true) : dst;

  const Operation names = OperationOf(direction);
  Descriptor& convolve = Keep(names.type);
  convolve.Set(names.src, src);
  convolve.Set(names.weight, weight);
  convolve.Set(names.dst, sums);
  convolve.Set(names.convolution, Convolution());
  convolve.Set(names.alpha, 1.0f);
  convolve.Set(names.beta, 0.0f);
  convolve.Finalize();
  std::vector<cudnnBackendDescriptor_t> operations = {convolve.get()};
  if (!fused_) return operations;

  const Descriptor* biased = &sums;
  if (p_.bias) {
    const Descriptor& bias = Tensor(kBias, {1, p_.out_channels, 1, 1}, plane_.dtype);
    if (p_.relu) biased = &Tensor(kBiased, dst_shape, DType::kF32, true);
    operations.push_back(
        Pointwise(CUDNN_POINTWISE_ADD, sums, &bias, p_.relu ? *biased : dst).get());
  }
  if (p_.relu) {
    operations.push_back(Pointwise(CUDNN_POINTWISE_RELU_FWD, *biased, nullptr, dst).get());
  }
  return operations;
}

void ConvGraph::Choose(const Target& target, const Descriptor& graph, bool exact) {
  for (const cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    for (Descriptor& config : Configurations(target, graph, mode, why_)) {
      if (!Take(target, config, exact)) continue;
      kept_.push_back(std::move(config));
      why_.clear();
      return;
    }
  }
  if (why_.empty()) why_ = "it offers no algorithm";
}

bool ConvGraph::Take(const Target& target, const Descriptor& config, bool exact) {
  Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
  cudnnBackendDescriptor_t raw = engine.get();
  int64_t count = 0;
  LSEG_CUDNN_CHECK(cudnnBackendGetAttribute(config.get(), CUDNN_ATTR_ENGINECFG_ENGINE,
                                            CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count, &raw));
  const auto number =
      engine.Get<int64_t>(CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1).at(0);
  const auto notes = engine.Get<cudnnBackendNumericalNote_t>(CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                                                             CUDNN_TYPE_NUMERICAL_NOTE, kMostNotes);
  const auto refuse = [&](const std::string& reason) {
    const std::string line = "engine " + std::to_string(number) + ": " + reason + "; ";
    if (why_.find(line) == std::string::npos) why_ += line;
    return false;
  };
  if (const char* fault = Fault(notes, exact)) return refuse(fault);

  Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
  plan.Set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, config);
  target.SetOn(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
  const cudnnStatus_t status = plan.TryFinalize();
  LSEG_CHECK(!IsOfTheMachine(status), "cuDNN: plan: " << Words(status));
  // Others may do where one fails, such as one whose code does not compile.
  if (status != CUDNN_STATUS_SUCCESS) return refuse(Words(status));
  workspace_ =
      plan.Get<int64_t>(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE, CUDNN_TYPE_INT64, 1).at(0);
  notes_ = notes;
  plan_ = std::move(plan);
  return true;
}

void ConvGraph::Run(cudnnHandle_t handle, const ConvData& data, void* workspace) const {
  const bool bias = fused_ && p_.bias;
  const std::array<int64_t, 4> ids = {kSrc, kWeight, kDst, kBias};
  const std::array<const void*, 4> pointers = {data.src, data.weight, data.dst, data.bias};
  const int64_t count = bias ? 4 : 3;
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.Set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, ids.data());
  pack.Set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, pointers.data());
  pack.Set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, CUDNN_TYPE_VOID_PTR, 1, &workspace);
  pack.Finalize();
  LSEG_CUDNN_CHECK(cudnnBackendExecute(handle, plan_->get(), pack.get()));
}

}  // namespace lseg::cudnn
