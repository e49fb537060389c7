// Copies and fills of device memory: ranges and directions are checked, states go along.
#include <algorithm>
#include <cstring>

#include "tests/softgpu/runtime/runtime.h"
#include "tests/softgpu/runtime/work.h"

namespace softgpu {
namespace {

// Calls row(offset, bytes) for each run of bytes of the region; rows without gaps are one run.
template <class Row>
void ForRows(const Region& region, const Extent& extent, Row row) {
  if (extent.bytes() == 0) return;
  const bool dense = (extent.height == 1 || region.pitch == extent.width) &&
                     (extent.depth == 1 || region.slice == extent.width * extent.height);
  if (dense) return row(uint64_t{0}, uint64_t{extent.bytes()});
  for (size_t z = 0; z < extent.depth; ++z) {
    for (size_t y = 0; y < extent.height; ++y) {
      row(uint64_t{z * region.slice + y * region.pitch}, uint64_t{extent.width});
    }
  }
}

// The first byte of an allocated range's complement.
uint64_t FirstOutside(const DeviceMemory& memory, uint64_t address, uint64_t bytes) {
  uint64_t low = 0, high = bytes;  // [0, low) is allocated, [0, high) is not
  while (high - low > 1) {
    const uint64_t middle = low + (high - low) / 2;
    (memory.IsAllocated(address, middle) ? low : high) = middle;
  }
  return address + high - 1;
}

bool CheckRange(Runtime& runtime, const Region& region, const Extent& extent, const CallSite& site,
                const char* verb) {
  bool good = true;
  ForRows(region, extent, [&](uint64_t offset, uint64_t bytes) {
    const uint64_t address = region.address + offset;
    if (!good || runtime.memory().IsAllocated(address, bytes)) return;
    good = false;
    const uint64_t bad = FirstOutside(runtime.memory(), address, bytes);
    runtime.Report(Check::kHostCopy, site,
                   "it " + std::string(verb) + " " + std::to_string(bytes) +
                       " bytes of device memory; byte " + std::to_string(bad - address) +
                       " is outside: " + runtime.memory().Describe(bad));
  });
  return good;
}

// A side of a copy: device memory, or bytes of the host.
enum class Side { kHost, kDevice, kEither };

Side SideOf(cudaMemcpyKind kind, bool dst) {
  switch (kind) {
    case cudaMemcpyHostToHost:
      return Side::kHost;
    case cudaMemcpyHostToDevice:
      return dst ? Side::kDevice : Side::kHost;
    case cudaMemcpyDeviceToHost:
      return dst ? Side::kHost : Side::kDevice;
    case cudaMemcpyDeviceToDevice:
      return Side::kDevice;
    default:
      return Side::kEither;
  }
}

bool CheckSide(Runtime& runtime, const Region& region, const Extent& extent, Side side,
               const CallSite& site, const char* name, const char* verb, bool* is_device) {
  *is_device = runtime.memory().Contains(region.address);
  if (*is_device) {
    if (side == Side::kHost) {
      runtime.Report(Check::kHostCopy, site,
                     "its " + std::string(name) + " is to be host memory, but " +
                         runtime.memory().Describe(region.address));
      return false;
    }
    return CheckRange(runtime, region, extent, site, verb);
  }
  if (side == Side::kDevice &&
      runtime.memory().FindHost(region.address, Span(region, extent)) == nullptr) {
    runtime.Report(Check::kHostCopy, site,
                   "its " + std::string(name) + " is to be device memory, but " +
                       Hex(region.address) + " is memory of the host");
    return false;
  }
  return true;
}

void CheckWritten(Runtime& runtime, const CopyWork& copy, const CallSite& site) {
  bool reported = false;
  ForRows(copy.src, copy.extent, [&](uint64_t offset, uint64_t bytes) {
    if (reported) return;
    const uint64_t address = copy.src.address + offset;
    const uint64_t first = runtime.memory().FirstUnwritten(address, bytes);
    if (first == ~uint64_t{0}) return;
    reported = true;
    runtime.Report(Check::kUninitialised, site,
                   "of the " + std::to_string(copy.extent.bytes()) +
                       " bytes it copies to the host, one was never written: " +
                       runtime.memory().Describe(first));
  });
}

}  // namespace

uint64_t Span(const Region& region, const Extent& extent) {
  if (extent.bytes() == 0) return 0;
  return (extent.depth - 1) * region.slice + (extent.height - 1) * region.pitch + extent.width;
}

std::vector<uint8_t> PackRows(const uint8_t* src, const Region& region, const Extent& extent) {
  std::vector<uint8_t> packed;
  packed.reserve(extent.bytes());
  ForRows(region, extent, [&](uint64_t offset, uint64_t bytes) {
    packed.insert(packed.end(), src + offset, src + offset + bytes);
  });
  return packed;
}

cudaError_t CheckCopy(Runtime& runtime, CopyWork& copy, cudaMemcpyKind kind, const CallSite& site) {
  if (kind < cudaMemcpyHostToHost || kind > cudaMemcpyDefault) {
    return cudaErrorInvalidMemcpyDirection;
  }
  if (copy.extent.bytes() == 0) return cudaSuccess;
  if (copy.dst.address == 0 || copy.src.address == 0) return cudaErrorInvalidValue;
  const bool wide = copy.extent.height > 1 || copy.extent.depth > 1;
  if (wide && (copy.dst.pitch < copy.extent.width || copy.src.pitch < copy.extent.width)) {
    return cudaErrorInvalidPitchValue;
  }
  const bool good = CheckSide(runtime, copy.dst, copy.extent, SideOf(kind, true), site,
                              "destination", "writes", &copy.dst_device) &
                    CheckSide(runtime, copy.src, copy.extent, SideOf(kind, false), site, "source",
                              "reads", &copy.src_device);
  return good ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t CheckFill(Runtime& runtime, FillWork& fill, const CallSite& site) {
  if (fill.extent.bytes() == 0) return cudaSuccess;
  if (fill.dst.address == 0) return cudaErrorInvalidValue;
  if (fill.extent.height > 1 && fill.dst.pitch < fill.extent.width) return cudaErrorInvalidValue;
  const bool good = CheckSide(runtime, fill.dst, fill.extent, Side::kDevice, site, "destination",
                              "writes", &fill.dst_device);
  return good ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t RunCopy(Runtime& runtime, CopyWork& copy, const CallSite& site) {
  const Extent& extent = copy.extent;
  if (extent.bytes() == 0) return cudaSuccess;
  DeviceMemory& memory = runtime.memory();
  // Freed since the call was made?
  if ((copy.src_device && !CheckRange(runtime, copy.src, extent, site, "reads")) ||
      (copy.dst_device && !CheckRange(runtime, copy.dst, extent, site, "writes"))) {
    runtime.pinned.OnDropped(copy);
    return cudaErrorIllegalAddress;
  }
  runtime.pinned.BeforeCopy(runtime, copy, site);
  if (copy.src_device && !copy.dst_device) CheckWritten(runtime, copy, site);

  // Packed first: source and destination may overlap, their rows may differ in pitch.
  std::vector<uint8_t> bytes, states;
  const uint8_t* src = copy.src_device ? memory.Data(copy.src.address)
                                       : reinterpret_cast<const uint8_t*>(copy.src.address);
  if (copy.source == CopyWork::Source::kStaged) {
    bytes = *copy.staged;
  } else {
    bytes = PackRows(src, copy.src, extent);
  }
  if (copy.src_device && copy.dst_device) {
    states = PackRows(memory.State(copy.src.address), copy.src, extent);
  } else {
    states.assign(copy.dst_device ? bytes.size() : 0, kWritten);
  }
  uint8_t* dst = copy.dst_device ? memory.Data(copy.dst.address)
                                 : reinterpret_cast<uint8_t*>(copy.dst.address);
  size_t at = 0;
  ForRows(copy.dst, extent, [&](uint64_t offset, uint64_t n) {
    std::memcpy(dst + offset, bytes.data() + at, n);
    if (copy.dst_device) std::memcpy(memory.State(copy.dst.address) + offset, &states[at], n);
    at += n;
  });
  runtime.pinned.AfterCopy(runtime, copy);
  return cudaSuccess;
}

cudaError_t RunFill(Runtime& runtime, const FillWork& fill, const CallSite& site) {
  if (fill.extent.bytes() == 0) return cudaSuccess;
  if (fill.dst_device && !CheckRange(runtime, fill.dst, fill.extent, site, "writes")) {
    return cudaErrorIllegalAddress;
  }
  uint8_t* dst = fill.dst_device ? runtime.memory().Data(fill.dst.address)
                                 : reinterpret_cast<uint8_t*>(fill.dst.address);
  ForRows(fill.dst, fill.extent, [&](uint64_t offset, uint64_t n) {
    if (fill.element == 1) {
      std::memset(dst + offset, static_cast<int>(fill.value & 0xff), n);
    } else {
      for (uint64_t i = 0; i < n; i += fill.element) {
        std::memcpy(dst + offset + i, &fill.value, fill.element);
      }
    }
    if (fill.dst_device)
      std::memset(runtime.memory().State(fill.dst.address) + offset, kWritten, n);
  });
  return cudaSuccess;
}

}  // namespace softgpu
