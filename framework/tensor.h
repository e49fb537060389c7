// Tensor: a logical shape, an element type and a memory format, with memory of its own on one
// device. TensorDesc is the same without the memory: what the graph and its passes reason about.
#pragma once

#include <cstdint>

#include "kernels/runtime/buffer.h"
#include "kernels/runtime/dtype.h"
#include "kernels/runtime/shape.h"

namespace lseg {

struct TensorDesc {
  Shape shape;
  DType dtype = DType::kF32;
  Format format = Format::kNCHW;
  int64_t opaque_bytes = 0;  // size in memory where format is kOpaque

  int64_t Bytes() const {
    return format == Format::kOpaque ? opaque_bytes : StorageCount(shape, format) * SizeOf(dtype);
  }
  bool operator==(const TensorDesc&) const = default;
};

class Tensor {
 public:
  Tensor() = default;
  // Memory is not initialised.
  Tensor(Device device, const TensorDesc& desc)
      : device_(device), desc_(desc), buffer_(device, desc.Bytes()) {}

  Device device() const { return device_; }
  const TensorDesc& desc() const { return desc_; }
  void* data() const { return buffer_.data(); }
  float* f32() const { return static_cast<float*>(buffer_.data()); }

  // All of it, from and to memory of the host.
  void CopyFrom(const void* host) { CopyToDevice(device_, data(), host, desc_.Bytes()); }
  void CopyTo(void* host) const { CopyToHost(device_, host, data(), desc_.Bytes()); }

  // Gives the memory back; desc() stays.
  void Release() { buffer_ = Buffer(); }
  bool IsReleased() const { return buffer_.data() == nullptr && desc_.Bytes() > 0; }

 private:
  Device device_ = Device::kCpu;
  TensorDesc desc_;
  Buffer buffer_;
};

}  // namespace lseg
