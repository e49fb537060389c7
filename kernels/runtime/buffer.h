// Buffer: owned memory on one device, 64-byte aligned, not initialised.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/runtime/context.h"

namespace lseg {

class Buffer {
 public:
  Buffer() = default;
  // Throws Error with the number of bytes where the memory cannot be had.
  Buffer(Device device, int64_t bytes);

  void* data() const { return data_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, Free> data_;
  int64_t bytes_ = 0;
};

}  // namespace lseg
