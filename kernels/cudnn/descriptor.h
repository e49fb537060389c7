// Descriptors of cuDNN's graph API, and what its calls say. For the sources of liblseg_cudnn.so.
#pragma once

#include <cudnn.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "kernels/runtime/check.h"

namespace lseg::cudnn {

// What a status means, and what the last call said of it.
std::string Words(cudnnStatus_t status);

#define LSEG_CUDNN_CHECK(call)                                                                   \
  do {                                                                                           \
    const cudnnStatus_t lseg_status = (call);                                                    \
    LSEG_CHECK(lseg_status == CUDNN_STATUS_SUCCESS, "cuDNN: " #call ": " << Words(lseg_status)); \
  } while (false)

// What is wrong with the machine, which cuDNN counts among what it does not support: a driver, a
// runtime or a part of the library.
inline bool IsOfTheMachine(cudnnStatus_t status) {
  return status == CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDA_DRIVER ||
         status == CUDNN_STATUS_NOT_SUPPORTED_INCOMPATIBLE_CUDART ||
         status == CUDNN_STATUS_NOT_SUPPORTED_RUNTIME_PREREQUISITE_MISSING ||
         status == CUDNN_STATUS_NOT_SUPPORTED_SUBLIBRARY_UNAVAILABLE;
}
inline bool IsUnsupported(cudnnStatus_t status) {
  return CUDNN_STATUS_CATEGORY(status) == CUDNN_STATUS_NOT_SUPPORTED && !IsOfTheMachine(status);
}

// Made, given its attributes, finalised. What it was given must live as long as it does.
class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type);
  ~Descriptor();
  Descriptor(Descriptor&& other) noexcept
      : descriptor_(std::exchange(other.descriptor_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(descriptor_, other.descriptor_);
    return *this;
  }

  cudnnBackendDescriptor_t get() const { return descriptor_; }

  void Set(cudnnBackendAttributeName_t name, int64_t value) {
    Set(name, CUDNN_TYPE_INT64, 1, &value);
  }
  template <size_t kCount>
  void Set(cudnnBackendAttributeName_t name, const int64_t (&values)[kCount]) {
    Set(name, CUDNN_TYPE_INT64, int64_t{kCount}, values);
  }
  void Set(cudnnBackendAttributeName_t name, float value) {
    Set(name, CUDNN_TYPE_FLOAT, 1, &value);
  }
  void Set(cudnnBackendAttributeName_t name, cudnnDataType_t value) {
    Set(name, CUDNN_TYPE_DATA_TYPE, 1, &value);
  }
  void Set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    const cudnnBackendDescriptor_t raw = value.get();
    Set(name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &raw);
  }
  void Set(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type, int64_t count,
           const void* values);

  // At most `most` values of an attribute of a finalised descriptor.
  template <class T>
  std::vector<T> Get(cudnnBackendAttributeName_t name, cudnnBackendAttributeType_t type,
                     int64_t most) const {
    std::vector<T> values(static_cast<size_t>(most));
    int64_t count = 0;
    LSEG_CUDNN_CHECK(
        cudnnBackendGetAttribute(descriptor_, name, type, most, &count, values.data()));
    LSEG_CHECK(count <= most, "cuDNN: attribute " << name << " has " << count << " values");
    values.resize(static_cast<size_t>(count));
    return values;
  }

  cudnnStatus_t TryFinalize() { return cudnnBackendFinalize(descriptor_); }
  void Finalize() { LSEG_CUDNN_CHECK(TryFinalize()); }

 private:
  cudnnBackendDescriptor_t descriptor_ = nullptr;
};

}  // namespace lseg::cudnn
