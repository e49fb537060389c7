#include "tests/softgpu/report/report.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "tests/softgpu/report/occupancy.h"
#include "tests/softgpu/report/roofline.h"
#include "tests/softgpu/report/table.h"

namespace softgpu {
namespace {

using nlohmann::ordered_json;

constexpr const char* kClassNames[] = {
    "integer",        "float32",     "float64",      "half",       "special_function",
    "convert",        "move",        "compare",      "branch",     "load_global",
    "store_global",   "load_shared", "store_shared", "load_local", "store_local",
    "load_const",     "atomic",      "async_copy",   "matrix",     "matrix_load",
    "warp_operation", "barrier",     "fence",        "other"};
static_assert(std::size(kClassNames) == static_cast<size_t>(InstClass::kCount));

ordered_json CountersJson(const Counters& c) {
  ordered_json classes = ordered_json::object();
  for (size_t k = 0; k < std::size(kClassNames); ++k) {
    if (c.insts[k]) classes[kClassNames[k]] = c.insts[k];
  }
  return {
      {"blocks", c.blocks},
      {"warps", c.warps},
      {"warp_instructions", c.warp_insts},
      {"lane_instructions", c.lane_insts},
      {"warp_instructions_by_class", classes},
      {"branches", {{"taken", c.branches}, {"divergent", c.divergent_branches}}},
      {"flops",
       {{"f32", c.flops_f32}, {"f64", c.flops_f64}, {"half", c.flops_half}, {"mma", c.flops_mma}}},
      {"special_functions", c.special_functions},
      {"global_loads",
       {{"bytes", c.load_bytes}, {"sectors", c.load_sectors}, {"ideal", c.load_sectors_ideal}}},
      {"global_stores",
       {{"bytes", c.store_bytes}, {"sectors", c.store_sectors}, {"ideal", c.store_sectors_ideal}}},
      {"atomic_lanes", c.atomic_lanes},
      {"shared_loads",
       {{"wavefronts", c.shared_load_wavefronts}, {"ideal", c.shared_load_wavefronts_ideal}}},
      {"shared_stores",
       {{"wavefronts", c.shared_store_wavefronts}, {"ideal", c.shared_store_wavefronts_ideal}}},
      {"async_copy_bytes", c.async_copy_bytes},
      {"local_bytes", c.local_bytes},
      {"barriers", c.barriers},
  };
}

ordered_json OccupancyJson(uint32_t threads, uint32_t registers, uint32_t shared) {
  ordered_json json;
  for (const int arch : {80, 90}) {
    const Occupancy o = OccupancyOf(arch, threads, registers, shared);
    json["sm_" + std::to_string(arch)] = {
        {"blocks", o.blocks}, {"warps", o.warps}, {"share", o.share}, {"limit", o.limit}};
  }
  // Without them, what is said is an upper bound.
  json["registers_known"] = registers != 0;
  return json;
}

ordered_json RooflineJson(const Counters& counters, uint64_t blocks) {
  const Roofline roofline = Estimate(counters, blocks);
  ordered_json bounds;
  for (const Bound& bound : roofline.bounds) bounds[bound.resource] = bound.seconds;
  return {{"seconds", roofline.seconds}, {"binds", roofline.binds}, {"bounds", bounds}};
}

}  // namespace

std::unique_ptr<CostReport> CostReport::Of(Device& device) {
  if (device.options().report.empty()) return nullptr;
  auto report = std::make_unique<CostReport>(device.options().arch);
  device.on_launch = [raw = report.get(), next = device.on_launch](
                         const LaunchConfig& config, const Code& code, const Counters& counters) {
    raw->Add(config, code, counters);
    if (next) next(config, code, counters);
  };
  return report;
}

void CostReport::Add(const LaunchConfig& config, const Code& code, const Counters& counters) {
  const std::lock_guard<std::mutex> lock(mutex_);
  const auto [module, new_module] = module_of_.try_emplace(config.module, modules_.size());
  if (new_module) {
    const ptx::Module& parsed = config.module->parsed();
    modules_.push_back({parsed.text, parsed.target, false, {}});
  }
  const auto [at, is_new] =
      kernel_of_.try_emplace({module->second, config.kernel}, kernels_.size());
  if (is_new) {
    KernelCost kernel;
    kernel.name = Demangled(config.kernel);
    kernel.mangled = config.kernel;
    kernel.static_shared = code.static_shared;
    kernel.module = module->second;
    kernels_.push_back(std::move(kernel));
  }
  KernelCost& kernel = kernels_[at->second];
  ++kernel.launches;
  kernel.counters.Add(counters);
  LaunchCost& launch = kernel.last;
  launch.kernel = at->second;
  std::copy_n(config.grid, 3, launch.grid);
  std::copy_n(config.block, 3, launch.block);
  launch.dynamic_shared = config.dynamic_shared;
  launch.counters = counters;
  if (launches_.size() < kMaxLaunches) {
    launches_.push_back(launch);
  } else {
    ++left_out_;
  }
}

uint32_t CostReport::Registers(const KernelCost& kernel) {
  Text& module = modules_[kernel.module];
  if (!module.asked) {
    module.asked = true;
    module.registers = RegistersOf(module.ptx, module.target);
  }
  const auto found = module.registers.find(kernel.mangled);
  return found == module.registers.end() ? 0 : found->second;
}

std::string CostReport::Json() {
  const std::lock_guard<std::mutex> lock(mutex_);
  ordered_json kernels = ordered_json::array(), launches = ordered_json::array();
  for (const KernelCost& kernel : kernels_) {
    const uint32_t registers = Registers(kernel);
    const LaunchCost& last = kernel.last;
    ordered_json json = {
        {"name", kernel.name}, {"mangled", kernel.mangled}, {"launches", kernel.launches}};
    json["registers"] = registers ? ordered_json(registers) : ordered_json("unknown");
    json["static_shared_bytes"] = kernel.static_shared;
    json["counters"] = CountersJson(kernel.counters);
    json["occupancy_of_last_launch"] =
        OccupancyJson(last.threads(), registers, kernel.static_shared + last.dynamic_shared);
    json["h100"] = RooflineJson(kernel.counters, last.blocks());
    // As part of a launch that keeps all multiprocessors busy: what binds at sizes beyond this
    // run's.
    json["h100_busy"] = RooflineJson(kernel.counters, UINT64_MAX);
    kernels.push_back(std::move(json));
  }
  for (const LaunchCost& launch : launches_) {
    const KernelCost& kernel = kernels_[launch.kernel];
    launches.push_back({{"kernel", launch.kernel},
                        {"name", kernel.name},
                        {"grid", launch.grid},
                        {"block", launch.block},
                        {"dynamic_shared_bytes", launch.dynamic_shared},
                        {"counters", CountersJson(launch.counters)},
                        {"h100", RooflineJson(launch.counters, launch.blocks())}});
  }
  const ordered_json json = {{"device", "softgpu"},
                             {"arch", arch_},
                             {"kernels", kernels},
                             {"launches", launches},
                             {"launches_left_out", left_out_}};
  return json.dump(1) + "\n";
}

std::string CostReport::Table() {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::string text;
  for (const KernelCost& kernel : kernels_) {
    const uint32_t registers = Registers(kernel);
    const LaunchCost& last = kernel.last;
    TableOf table(kernel.counters);
    table.Head(kernel.name, kernel.launches);
    table.Instructions(kClassNames);
    table.Memory();
    table.Occupancies(last.threads(), registers, kernel.static_shared + last.dynamic_shared);
    table.Bounds(Estimate(kernel.counters, last.blocks()));
    text += table.text();
  }
  return text.empty() ? "softgpu: no kernel was launched\n" : text;
}

void CostReport::Write(const std::string& path) {
  if (path == "-") {
    const std::string text = Table();
    std::fwrite(text.data(), 1, text.size(), stderr);
    return;
  }
  // Processes of one program may write the same report: the last one stays.
  const std::string part = path + ".part" + std::to_string(getpid());
  std::ofstream file(part, std::ios::binary);
  file << Json();
  file.close();
  if (!file || std::rename(part.c_str(), path.c_str()) != 0) {
    std::remove(part.c_str());
    throw std::runtime_error("cannot write the report to " + path);
  }
}

}  // namespace softgpu
