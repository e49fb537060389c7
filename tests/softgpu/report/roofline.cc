#include "tests/softgpu/report/roofline.h"

#include <algorithm>

namespace softgpu {

Roofline Estimate(const Counters& c, uint64_t blocks) {
  // Of the resources that multiprocessors have each.
  const double used = std::clamp(static_cast<double>(blocks) / H100::kMultiprocessors,
                                 1 / H100::kMultiprocessors, 1.0);
  const auto seconds = [](uint64_t work, double rate) { return static_cast<double>(work) / rate; };
  const uint64_t bytes = (c.load_sectors + c.store_sectors) * 32;
  Roofline r;
  r.bounds = {
      {"memory", seconds(bytes, H100::kMemoryBytes)},
      {"l2", seconds(bytes, H100::kL2Bytes)},
      {"shared memory",
       seconds(c.shared_load_wavefronts + c.shared_store_wavefronts, H100::kWavefronts * used)},
      {"instruction issue", seconds(c.warp_insts, H100::kWarpInstructions * used)},
      {"f32", seconds(c.flops_f32, H100::kFloat32 * used)},
      {"f64", seconds(c.flops_f64, H100::kFloat64 * used)},
      {"half", seconds(c.flops_half, H100::kHalf * used)},
      {"special functions", seconds(c.special_functions, H100::kSpecialFunctions * used)},
      {"tensor cores", seconds(c.flops_mma, H100::kTensorHalf * used)},
  };
  for (const Bound& bound : r.bounds) {
    if (bound.seconds <= r.seconds) continue;
    r.seconds = bound.seconds;
    r.binds = bound.resource;
  }
  return r;
}

}  // namespace softgpu
