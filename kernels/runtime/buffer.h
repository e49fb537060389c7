// Buffer: owned memory on one device, not initialised, aligned to 64 bytes (256 on a GPU); and the
// copies between a device and the host, which are explicit calls so that they show.
#pragma once

#include <cstdint>
#include <memory>

#include "kernels/runtime/check.h"
#include "kernels/runtime/context.h"

namespace lseg {

// Memory that cannot be had; says how much was wanted and, of a GPU, how much is free. Programs add
// what their user can change.
class OutOfMemory : public Error {
 public:
  using Error::Error;
};

// Bytes of the process' GPU, as its driver has them now.
struct GpuMemory {
  int64_t free, total;
};
GpuMemory ReadGpuMemory();

class Buffer {
 public:
  Buffer() = default;
  // Throws OutOfMemory with the number of bytes.
  Buffer(Device device, int64_t bytes);

  void* data() const { return data_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    Device device;
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, Free> data_{nullptr, Free{Device::kCpu}};
  int64_t bytes_ = 0;
};

// Owned memory of the host, from and to which a GPU copies by itself (page-locked where `device` is
// one; plain memory else).
class HostBuffer {
 public:
  HostBuffer() = default;
  // Throws OutOfMemory with the number of bytes.
  HostBuffer(Device device, int64_t bytes);

  void* data() const { return data_.get(); }
  int64_t bytes() const { return bytes_; }

 private:
  struct Free {
    Device device;
    void operator()(void* memory) const;
  };
  std::unique_ptr<void, Free> data_{nullptr, Free{Device::kCpu}};
  int64_t bytes_ = 0;
};

// Queued on the context's stream; `from` is a HostBuffer's memory and stays as it is until the copy
// is done: until Context::Synchronize, or an Event set behind it was waited for. On the CPU a plain
// copy.
void QueueCopyToDevice(Context& context, void* to, const void* from, int64_t bytes);

// Sets memory of the context's device to zero bytes, in the order of its ops.
void QueueZero(Context& context, void* memory, int64_t bytes);

// `to` or `from` is memory of the device, the other the host's; on the CPU both are plain. They
// wait until work queued before is done and the bytes have arrived.
void CopyToDevice(Device device, void* to, const void* from, int64_t bytes);
void CopyToHost(Device device, void* to, const void* from, int64_t bytes);
// Sets memory of the device to zero bytes; done, seen from the device, before work queued later.
void SetZero(Device device, void* memory, int64_t bytes);

}  // namespace lseg
