#include "kernels/cudnn/cudnn_case.h"

#include <sstream>

#include "kernels/cuda/launch.h"

namespace lseg::cudnn {

std::string Words(cudnnStatus_t status) {
  char more[512] = "";
  cudnnGetLastErrorString(more, sizeof(more));
  return std::string(cudnnGetErrorString(status)) + (more[0] != 0 ? ": " : "") + more;
}

namespace {

class Handle {
 public:
  Handle() { LSEG_CUDNN_CHECK(cudnnCreate(&handle_)); }
  ~Handle() { cudnnDestroy(handle_); }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  cudnnHandle_t get() const { return handle_; }

 private:
  cudnnHandle_t handle_ = nullptr;
};

cudnnDataType_t TypeOf(DType dtype) {
  return dtype == DType::kF32    ? CUDNN_DATA_FLOAT
         : dtype == DType::kBF16 ? CUDNN_DATA_BFLOAT16
                                 : CUDNN_DATA_HALF;
}

int Int(int64_t value) { return static_cast<int>(value); }

bool SumsProducts(cudnnConvolutionFwdAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_GEMM ||
         algorithm == CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM ||
         algorithm == CUDNN_CONVOLUTION_FWD_ALGO_GEMM ||
         algorithm == CUDNN_CONVOLUTION_FWD_ALGO_DIRECT;
}
bool SumsProducts(cudnnConvolutionBwdDataAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_BWD_DATA_ALGO_1;
}
bool SumsProducts(cudnnConvolutionBwdFilterAlgo_t algorithm) {
  return algorithm == CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1;
}

constexpr int kMost = 16;  // more than there are algorithms of a direction

}  // namespace

cudnnHandle_t HandleFor(const Context& context) {
  thread_local Handle handle;
  LSEG_CUDNN_CHECK(cudnnSetStream(handle.get(), cuda::StreamOf(context)));
  return handle.get();
}

// The first, which is the fastest by cuDNN's estimate, of those that will do.
template <class Found, class Algorithm>
void Case::Take(cudnnStatus_t status, const Found* found, int count, Algorithm& algorithm) {
  if (IsUnsupported(status)) {
    why_ = Words(status);
    return;
  }
  LSEG_CHECK(status == CUDNN_STATUS_SUCCESS, "cuDNN: choice of an algorithm: " << Words(status));
  std::ostringstream offered;
  offered << "of " << count << " algorithms none repeats and sums the products as they are:";
  for (int i = 0; i < count; ++i) {
    const bool tensor_cores = found[i].mathType == CUDNN_TENSOR_OP_MATH ||
                              found[i].mathType == CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
    if (found[i].status != CUDNN_STATUS_SUCCESS || found[i].determinism != CUDNN_DETERMINISTIC ||
        !SumsProducts(found[i].algo) || (exact_ && tensor_cores)) {
      offered << ' ' << found[i].algo << " (" << cudnnGetErrorString(found[i].status)
              << (found[i].determinism == CUDNN_DETERMINISTIC ? "" : ", does not repeat")
              << (tensor_cores ? ", tensor cores)" : ")");
      continue;
    }
    algorithm = found[i].algo;
    if (!exact_) SetMath(found[i].mathType);
    usable_ = true;
    return;
  }
  why_ = offered.str();
}

Case::Case(cudnnHandle_t handle, const ConvParams& p, ConvDirection direction, Plane plane)
    : exact_(plane.dtype == DType::kF32 && !p.allow_tf32) {
  const cudnnTensorFormat_t layout =
      plane.layout == Format::kNHWC ? CUDNN_TENSOR_NHWC : CUDNN_TENSOR_NCHW;
  const cudnnDataType_t type = TypeOf(plane.dtype);
  const auto set = [&](const TensorDescriptor& tensor, const Shape& s) {
    LSEG_CUDNN_CHECK(
        cudnnSetTensor4dDescriptor(tensor, layout, type, Int(s.n), Int(s.c), Int(s.h), Int(s.w)));
  };
  set(src, p.src);
  set(dst, p.Dst());
  set(bias, {1, p.out_channels, 1, 1});
  const Shape w = p.Weight();
  LSEG_CUDNN_CHECK(
      cudnnSetFilter4dDescriptor(weight, type, layout, Int(w.n), Int(w.c), Int(w.h), Int(w.w)));
  LSEG_CUDNN_CHECK(cudnnSetConvolution2dDescriptor(
      convolution, Int(p.pad_h), Int(p.pad_w), Int(p.stride_h), Int(p.stride_w), Int(p.dilation_h),
      Int(p.dilation_w), CUDNN_CROSS_CORRELATION, CUDNN_DATA_FLOAT));
  LSEG_CUDNN_CHECK(cudnnSetConvolutionGroupCount(convolution, Int(p.group)));
  // The default takes f32's products in tf32 where it can.
  SetMath(exact_                       ? CUDNN_FMA_MATH
          : plane.dtype == DType::kF32 ? CUDNN_DEFAULT_MATH
                                       : CUDNN_TENSOR_OP_MATH);
  LSEG_CUDNN_CHECK(cudnnSetActivationDescriptor(
      activation, p.relu ? CUDNN_ACTIVATION_RELU : CUDNN_ACTIVATION_IDENTITY, CUDNN_PROPAGATE_NAN,
      0));
  Choose(handle, direction);
}

void Case::SetMath(cudnnMathType_t math) {
  LSEG_CUDNN_CHECK(cudnnSetConvolutionMathType(convolution, math));
}

void Case::Choose(cudnnHandle_t handle, ConvDirection direction) {
  int count = 0;
  if (direction == ConvDirection::kForward) {
    cudnnConvolutionFwdAlgoPerf_t found[kMost];
    Take(cudnnGetConvolutionForwardAlgorithm_v7(handle, src, weight, convolution, dst, kMost,
                                                &count, found),
         found, count, forward);
    if (!usable_) return;
    Measure(cudnnGetConvolutionForwardWorkspaceSize(handle, src, weight, convolution, dst, forward,
                                                    &workspace_));
  } else if (direction == ConvDirection::kBackwardData) {
    cudnnConvolutionBwdDataAlgoPerf_t found[kMost];
    Take(cudnnGetConvolutionBackwardDataAlgorithm_v7(handle, weight, dst, convolution, src, kMost,
                                                     &count, found),
         found, count, backward_data);
    if (!usable_) return;
    Measure(cudnnGetConvolutionBackwardDataWorkspaceSize(handle, weight, dst, convolution, src,
                                                         backward_data, &workspace_));
  } else {
    cudnnConvolutionBwdFilterAlgoPerf_t found[kMost];
    Take(cudnnGetConvolutionBackwardFilterAlgorithm_v7(handle, src, dst, convolution, weight, kMost,
                                                       &count, found),
         found, count, backward_weights);
    if (!usable_) return;
    Measure(cudnnGetConvolutionBackwardFilterWorkspaceSize(handle, src, dst, convolution, weight,
                                                           backward_weights, &workspace_));
  }
}

void Case::Measure(cudnnStatus_t status) {
  if (IsUnsupported(status)) {
    usable_ = false;
    why_ = Words(status);
  }
  LSEG_CHECK(status == CUDNN_STATUS_SUCCESS || !usable_,
             "cuDNN: size of the workspace: " << Words(status));
}

}  // namespace lseg::cudnn
