// What a stream or a graph does: one piece of work, described by value, so that the same thing can
// be queued now, kept as a node of a graph, and queued again at each of its launches.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/runtime/call_site.h"
#include "tests/softgpu/runtime/guard_pages.h"

namespace softgpu {

class Runtime;
struct KernelFunction;

// Rows of `pitch` bytes from start to start, slices of `slice` bytes; a device or a host address.
struct Region {
  uint64_t address = 0;
  size_t pitch = 0, slice = 0;
};

struct Extent {
  size_t width = 0, height = 1, depth = 1;  // width in bytes
  size_t bytes() const { return width * height * depth; }
};

struct CopyWork {
  // Where the bytes come from when the copy is done. Pageable memory was staged when the call was
  // made; pinned memory is read late and must still hold what it held then.
  enum class Source : uint8_t { kLive, kStaged, kPinned };
  Region dst, src;
  Extent extent;
  bool dst_device = false, src_device = false;
  Source source = Source::kLive;
  bool waited = false;    // the call returns when it is done: nobody can touch anything meanwhile
  bool poisoned = false;  // the destination, until it is done
  GuardSlot guard = -1;   // of the destination, until then
  std::shared_ptr<const std::vector<uint8_t>> staged;  // rows packed
};

struct FillWork {
  Region dst;
  Extent extent;
  bool dst_device = false;
  uint32_t value = 0;
  unsigned element = 1;  // bytes: 1, 2, 4
};

struct KernelWork {
  KernelFunction* function = nullptr;
  LaunchConfig config;
};

struct HostWork {
  cudaHostFn_t function = nullptr;
  cudaStreamCallback_t callback = nullptr;  // or this one
  cudaStream_t stream = nullptr;
  void* data = nullptr;
};

struct FreeWork {
  uint64_t address = 0;
};

// Order alone: events, joins.
struct NoWork {};

using Work = std::variant<NoWork, KernelWork, CopyWork, FillWork, HostWork, FreeWork>;

// Copies and fills. The checks of ranges and directions are made when the call is made, and, since
// memory may be gone by then, again when the work is done.
//
// Fills in dst_device, src_device. Anything but cudaSuccess has been reported.
cudaError_t CheckCopy(Runtime& runtime, CopyWork& copy, cudaMemcpyKind kind, const CallSite& site);
cudaError_t CheckFill(Runtime& runtime, FillWork& fill, const CallSite& site);
cudaError_t RunCopy(Runtime& runtime, CopyWork& copy, const CallSite& site);
cudaError_t RunFill(Runtime& runtime, const FillWork& fill, const CallSite& site);

// Bytes from the first to the last of a region.
uint64_t Span(const Region& region, const Extent& extent);
std::vector<uint8_t> PackRows(const uint8_t* src, const Region& region, const Extent& extent);

}  // namespace softgpu
