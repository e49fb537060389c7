// Simulated times: what an H100 (SXM) would roughly need. Not a prediction: good enough that times
// grow with work, and repeat. Figures: 3.35 TB/s of memory, 50 GB/s over PCIe, 67 Tflop/s in f32,
// 34 in f64, 990 in half-precision mma; 132 multiprocessors of 4 warp instructions a cycle at 1.98
// GHz.
#include <algorithm>

#include "tests/softgpu/runtime/streams.h"

namespace softgpu {
namespace {
constexpr double kDeviceBytes = 3.35e12, kHostBytes = 50e9;
constexpr double kWarpInstructions = 132 * 4 * 1.98e9;
constexpr double kLaunchSeconds = 2e-6, kCopySeconds = 1.5e-6;
}  // namespace

double CopySeconds(const CopyWork& copy) {
  const auto bytes = static_cast<double>(copy.extent.bytes());
  const bool inside = copy.src_device && copy.dst_device;
  return kCopySeconds + (inside ? 2 * bytes / kDeviceBytes : bytes / kHostBytes);
}

double FillSeconds(const FillWork& fill) {
  return kCopySeconds + static_cast<double>(fill.extent.bytes()) / kDeviceBytes;
}

double KernelSeconds(const Counters& c) {
  const auto seconds = [](uint64_t work, double rate) { return static_cast<double>(work) / rate; };
  return kLaunchSeconds +
         std::max({seconds((c.load_sectors + c.store_sectors) * 32, kDeviceBytes),
                   seconds(c.flops_f32, 67e12), seconds(c.flops_f64, 34e12),
                   seconds(c.flops_mma, 990e12), seconds(c.warp_insts, kWarpInstructions)});
}

}  // namespace softgpu
