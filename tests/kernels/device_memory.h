// Ops tested on every device: a case is written once, its data in Memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "kernels/runtime/buffer.h"
#include "kernels/runtime/context.h"
#include "kernels/runtime/dtype.h"
#include "tests/device.h"

namespace lseg {

// A vector in a device's memory.
template <class T>
class Memory {
 public:
  Memory(const Context& context, const std::vector<T>& values)
      : context_(context),
        buffer_(context.device(), std::max<int64_t>(Bytes(values), 1)),
        size_(values.size()) {
    CopyToDevice(context.device(), buffer_.data(), values.data(), Bytes(values));
  }

  T* data() const { return static_cast<T*>(buffer_.data()); }
  // Waits for the ops that were queued; throws what failed there.
  std::vector<T> Values() const {
    context_.Synchronize();
    std::vector<T> values(size_);
    CopyToHost(context_.device(), values.data(), buffer_.data(), Bytes(values));
    return values;
  }

 private:
  static int64_t Bytes(const std::vector<T>& values) {
    return static_cast<int64_t>(values.size() * sizeof(T));
  }

  const Context& context_;
  Buffer buffer_;
  size_t size_;
};

// Floats as they are after rounding to an element type.
inline float Rounded(float value, DType dtype) {
  if (dtype == DType::kF16) return F16ToF32(F32ToF16(value));
  if (dtype == DType::kBF16) return BF16ToF32(F32ToBF16(value));
  return value;
}
inline std::vector<float> Rounded(std::vector<float> values, DType dtype) {
  for (float& value : values) value = Rounded(value, dtype);
  return values;
}

// The most by which rounding moves a number, as a share of it.
inline double RoundingUnit(DType dtype) {
  return dtype == DType::kF16 ? 0x1p-11 : dtype == DType::kBF16 ? 0x1p-8 : 0x1p-24;
}

// Floats in a device's memory as elements of a type.
class TypedMemory {
 public:
  TypedMemory(const Context& context, DType dtype, const std::vector<float>& values)
      : dtype_(dtype), bytes_(context, Encode(dtype, values)) {}

  void* data() const { return bytes_.data(); }
  std::vector<float> Values() const {
    const std::vector<uint8_t> bytes = bytes_.Values();
    std::vector<float> values(bytes.size() / SizeOf(dtype_));
    for (size_t i = 0; i < values.size(); ++i) {
      if (dtype_ == DType::kF32) {
        std::memcpy(&values[i], &bytes[i * 4], 4);
      } else {
        uint16_t bits;
        std::memcpy(&bits, &bytes[i * 2], 2);
        values[i] = dtype_ == DType::kF16 ? F16ToF32(bits) : BF16ToF32(bits);
      }
    }
    return values;
  }

 private:
  static std::vector<uint8_t> Encode(DType dtype, const std::vector<float>& values) {
    std::vector<uint8_t> bytes(values.size() * SizeOf(dtype));
    for (size_t i = 0; i < values.size(); ++i) {
      if (dtype == DType::kF32) {
        std::memcpy(&bytes[i * 4], &values[i], 4);
      } else {
        const uint16_t bits = dtype == DType::kF16 ? F32ToF16(values[i]) : F32ToBF16(values[i]);
        std::memcpy(&bytes[i * 2], &bits, 2);
      }
    }
    return bytes;
  }

  DType dtype_;
  Memory<uint8_t> bytes_;
};

// Cases with the device as their parameter: LSEG_ON_ALL_DEVICES(Suite) runs them.
class DeviceTest : public testing::TestWithParam<Device> {
 protected:
  void SetUp() override { LSEG_SKIP_WITHOUT(GetParam()); }
};

}  // namespace lseg
