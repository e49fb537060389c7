#include "kernels/runtime/buffer.h"

#include <cstdlib>
#include <cstring>
#include <string>

#include "kernels/runtime/integers.h"

#if LSEG_WITH_CUDA
#include "kernels/cuda/device.h"
#endif

namespace lseg {
namespace {

void* AllocateHost(int64_t bytes) {
  // Whole pages for big buffers: the kernel can then back them with huge pages.
  const int64_t alignment = bytes >= (int64_t{1} << 21) ? int64_t{1} << 21 : 64;
  void* memory = std::aligned_alloc(alignment, RoundUp(bytes, alignment));
  if (memory == nullptr) {
    throw OutOfMemory("out of memory: " + std::to_string(bytes) + " bytes could not be allocated");
  }
  return memory;
}

}  // namespace

#if !LSEG_WITH_CUDA
// No Context of a GPU can be made in such a build, so nothing of these is ever reached by an op.
namespace cuda {
namespace {

void* Allocate(int64_t) { LSEG_FAIL("device cuda: this program was built without CUDA"); }
void ReadMemory(int64_t*, int64_t*) { Allocate(0); }
void Free(void*) {}
void* AllocatePinned(int64_t) { return Allocate(0); }
void FreePinned(void*) {}
void QueueCopyToDevice(Stream&, void*, const void*, int64_t) { Allocate(0); }
void CopyToDevice(void*, const void*, int64_t) { Allocate(0); }
void CopyToHost(void*, const void*, int64_t) { Allocate(0); }
void SetZero(void*, int64_t) { Allocate(0); }
void QueueZero(Stream&, void*, int64_t) { Allocate(0); }

}  // namespace
}  // namespace cuda
#endif

GpuMemory ReadGpuMemory() {
  GpuMemory memory = {};
  cuda::ReadMemory(&memory.free, &memory.total);
  return memory;
}

Buffer::Buffer(Device device, int64_t bytes) : data_(nullptr, Free{device}), bytes_(bytes) {
  LSEG_CHECK(bytes >= 0, "a buffer of " << bytes << " bytes was asked for");
  if (bytes == 0) return;
  data_.reset(device == Device::kCpu ? AllocateHost(bytes) : cuda::Allocate(bytes));
}

void Buffer::Free::operator()(void* memory) const {
  if (device == Device::kCpu) {
    std::free(memory);
  } else {
    cuda::Free(memory);
  }
}

HostBuffer::HostBuffer(Device device, int64_t bytes) : data_(nullptr, Free{device}), bytes_(bytes) {
  LSEG_CHECK(bytes >= 0, "a buffer of " << bytes << " bytes was asked for");
  if (bytes == 0) return;
  data_.reset(device == Device::kCpu ? AllocateHost(bytes) : cuda::AllocatePinned(bytes));
}

void HostBuffer::Free::operator()(void* memory) const {
  if (device == Device::kCpu) {
    std::free(memory);
  } else {
    cuda::FreePinned(memory);
  }
}

void QueueCopyToDevice(Context& context, void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  if (context.device() == Device::kCpu) {
    std::memcpy(to, from, bytes);
  } else {
    cuda::QueueCopyToDevice(*context.stream(), to, from, bytes);
  }
}

void QueueZero(Context& context, void* memory, int64_t bytes) {
  if (bytes == 0) return;
  if (context.device() == Device::kCpu) {
    std::memset(memory, 0, bytes);
  } else {
    cuda::QueueZero(*context.stream(), memory, bytes);
  }
}

void CopyToDevice(Device device, void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  if (device == Device::kCpu) {
    std::memcpy(to, from, bytes);
  } else {
    cuda::CopyToDevice(to, from, bytes);
  }
}

void CopyToHost(Device device, void* to, const void* from, int64_t bytes) {
  if (bytes == 0) return;
  if (device == Device::kCpu) {
    std::memcpy(to, from, bytes);
  } else {
    cuda::CopyToHost(to, from, bytes);
  }
}

void SetZero(Device device, void* memory, int64_t bytes) {
  if (bytes == 0) return;
  if (device == Device::kCpu) {
    std::memset(memory, 0, bytes);
  } else {
    cuda::SetZero(memory, bytes);
  }
}

}  // namespace lseg
