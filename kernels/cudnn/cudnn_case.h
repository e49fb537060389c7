// A convolution as cuDNN describes it, with the algorithm for one direction; and what calls of
// cuDNN need. For the sources of liblseg_cudnn.so.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <string>

#include "kernels/conv.h"
#include "kernels/runtime/check.h"

namespace lseg::cudnn {

// What a status means, and what the last call said of it.
std::string Words(cudnnStatus_t status);

#define LSEG_CUDNN_CHECK(call)                                                                   \
  do {                                                                                           \
    const cudnnStatus_t lseg_status = (call);                                                    \
    LSEG_CHECK(lseg_status == CUDNN_STATUS_SUCCESS, "cuDNN: " #call ": " << Words(lseg_status)); \
  } while (false)

// That a case is not supported; a part of the library that is not installed is another matter.
inline bool IsUnsupported(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED &&
         status != CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE;
}

// The calling thread's, on the context's stream: a handle is set up by each run.
cudnnHandle_t HandleFor(const Context& context);

// A descriptor of cuDNN's, made and freed.
template <class T, cudnnStatus_t (*kCreate)(T*), cudnnStatus_t (*kDestroy)(T)>
class Descriptor {
 public:
  Descriptor() { LSEG_CUDNN_CHECK(kCreate(&descriptor_)); }
  ~Descriptor() { kDestroy(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  operator T() const { return descriptor_; }

 private:
  T descriptor_ = nullptr;
};
using TensorDescriptor =
    Descriptor<cudnnTensorDescriptor_t, cudnnCreateTensorDescriptor, cudnnDestroyTensorDescriptor>;
using FilterDescriptor =
    Descriptor<cudnnFilterDescriptor_t, cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor>;
using ConvolutionDescriptor =
    Descriptor<cudnnConvolutionDescriptor_t, cudnnCreateConvolutionDescriptor,
               cudnnDestroyConvolutionDescriptor>;
using ActivationDescriptor =
    Descriptor<cudnnActivationDescriptor_t, cudnnCreateActivationDescriptor,
               cudnnDestroyActivationDescriptor>;

// The layout and the type that cuDNN computes in.
struct Plane {
  Format layout;
  DType dtype;

  explicit Plane(ConvFormats formats)
      : layout(formats.src == formats.dst ? formats.src : Format::kNHWC),
        dtype(formats.src_dtype == DType::kF32 ? formats.dst_dtype : formats.src_dtype) {}
  bool Differs(Format format, DType type) const { return format != layout || type != dtype; }
};

class Case {
 public:
  Case(cudnnHandle_t handle, const ConvParams& p, ConvDirection direction, Plane plane);

  // Whether cuDNN has an algorithm that will do.
  bool usable() const { return usable_; }
  // Where it has none: what it said, or what it offered.
  const std::string& why() const { return why_; }
  int64_t workspace() const { return static_cast<int64_t>(workspace_); }

  TensorDescriptor src, dst, bias;
  FilterDescriptor weight;
  ConvolutionDescriptor convolution;
  ActivationDescriptor activation;
  cudnnConvolutionFwdAlgo_t forward{};
  cudnnConvolutionBwdDataAlgo_t backward_data{};
  cudnnConvolutionBwdFilterAlgo_t backward_weights{};

 private:
  void SetMath(cudnnMathType_t math);
  void Choose(cudnnHandle_t handle, ConvDirection direction);
  template <class Found, class Algorithm>
  void Take(cudnnStatus_t status, const Found* found, int count, Algorithm& algorithm);
  void Measure(cudnnStatus_t status);

  bool exact_, usable_ = false;
  std::string why_;
  size_t workspace_ = 0;
};

}  // namespace lseg::cudnn
