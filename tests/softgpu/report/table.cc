#include "tests/softgpu/report/table.h"

#include <algorithm>
#include <cstdio>
#include <vector>

#include "tests/softgpu/report/occupancy.h"

namespace softgpu {
namespace {

std::string Count(uint64_t value) { return Short(static_cast<double>(value)); }

std::string Percent(double part, double whole) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.0f %%", whole > 0 ? 100 * part / whole : 100.0);
  return text;
}

std::string Seconds(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g us", value * 1e6);
  return text;
}

// Moved against the ideal: "8 M, ideally 4 M (50 %)".
std::string Against(uint64_t moved, uint64_t ideal) {
  return Count(moved) + ", ideally " + Count(ideal) + " (" +
         Percent(static_cast<double>(ideal), static_cast<double>(moved)) + ")";
}

}  // namespace

std::string Short(double value) {
  static constexpr const char* kUnits[] = {"", " k", " M", " G", " T", " P"};
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g%s", value, kUnits[unit]);
  return text;
}

void TableOf::Row(const std::string& name, const std::string& value) {
  text_ += "  " + name + std::string(name.size() < 22 ? 22 - name.size() : 1, ' ') + value + "\n";
}

void TableOf::Head(const std::string& name, uint64_t launches) {
  text_ += "softgpu: " + name + "\n";
  Row("launches",
      std::to_string(launches) + ", blocks " + Count(c_.blocks) + ", warps " + Count(c_.warps));
}

void TableOf::Instructions(const char* const* class_names) {
  Row("warp instructions",
      Count(c_.warp_insts) + ", lanes active " +
          Percent(static_cast<double>(c_.lane_insts), 32 * static_cast<double>(c_.warp_insts)));
  std::vector<size_t> order;
  for (size_t k = 0; k < std::size(c_.insts); ++k) {
    if (c_.insts[k]) order.push_back(k);
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return c_.insts[a] > c_.insts[b]; });
  for (const size_t k : order) {
    Row(std::string("  ") + class_names[k],
        Count(c_.insts[k]) + " (" +
            Percent(static_cast<double>(c_.insts[k]), static_cast<double>(c_.warp_insts)) + ")");
  }
  Row("divergent branches", Count(c_.divergent_branches) + " of " + Count(c_.branches) + " taken");
  if (c_.barriers) Row("barriers", Count(c_.barriers));
  if (c_.flops_f32) Row("f32 flops", Count(c_.flops_f32));
  if (c_.flops_f64) Row("f64 flops", Count(c_.flops_f64));
  if (c_.flops_half) Row("half flops", Count(c_.flops_half));
  if (c_.flops_mma) Row("mma flops", Count(c_.flops_mma));
  if (c_.special_functions) Row("special functions", Count(c_.special_functions));
}

void TableOf::Memory() {
  if (c_.load_bytes) {
    Row("global loads",
        Count(c_.load_bytes) + "B in sectors: " + Against(c_.load_sectors, c_.load_sectors_ideal));
  }
  if (c_.store_bytes) {
    Row("global stores", Count(c_.store_bytes) +
                             "B in sectors: " + Against(c_.store_sectors, c_.store_sectors_ideal));
  }
  if (c_.atomic_lanes) Row("atomics", Count(c_.atomic_lanes) + " lanes");
  if (c_.shared_load_wavefronts) {
    Row("shared loads",
        "wavefronts: " + Against(c_.shared_load_wavefronts, c_.shared_load_wavefronts_ideal));
  }
  if (c_.shared_store_wavefronts) {
    Row("shared stores",
        "wavefronts: " + Against(c_.shared_store_wavefronts, c_.shared_store_wavefronts_ideal));
  }
  if (c_.async_copy_bytes) Row("cp.async", Count(c_.async_copy_bytes) + "B");
  if (c_.local_bytes) Row("local memory", Count(c_.local_bytes) + "B");
}

void TableOf::Occupancies(uint32_t threads, uint32_t registers, uint32_t shared) {
  Row("registers", registers ? std::to_string(registers) : "unknown (no ptxas on the path)");
  for (const int arch : {80, 90}) {
    const Occupancy o = OccupancyOf(arch, threads, registers, shared);
    Row("occupancy sm_" + std::to_string(arch),
        (registers ? "" : "at most ") + Percent(o.share, 1) + ", " + std::to_string(o.blocks) +
            " blocks of " + std::to_string(threads) + " threads; limit: " + o.limit);
  }
}

void TableOf::Bounds(const Roofline& roofline) {
  Row("H100 at best", Seconds(roofline.seconds) + ", bound by " + roofline.binds);
  std::vector<Bound> bounds = roofline.bounds;
  std::stable_sort(bounds.begin(), bounds.end(),
                   [](const Bound& a, const Bound& b) { return a.seconds > b.seconds; });
  for (const Bound& bound : bounds) {
    if (bound.seconds > 0) Row(std::string("  ") + bound.resource, Seconds(bound.seconds));
  }
}

}  // namespace softgpu
