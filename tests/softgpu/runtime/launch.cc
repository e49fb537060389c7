#include "tests/softgpu/runtime/launch.h"

#include <algorithm>
#include <cstring>

#include "tests/softgpu/runtime/capture.h"
#include "tests/softgpu/runtime/limits.h"

namespace softgpu {
namespace {

std::vector<uint8_t> PackArguments(const ptx::Function& function, void** args) {
  std::vector<uint8_t> params;
  for (size_t i = 0; i < function.params.size(); ++i) {
    const ptx::Variable& param = function.params[i];
    const size_t align = std::max<size_t>(param.align, 1);
    const size_t at = (params.size() + align - 1) / align * align;
    params.resize(at + param.bytes);
    if (param.bytes != 0) std::memcpy(&params[at], args[i], param.bytes);
  }
  return params;
}

// All blocks of a cooperative grid are there at once.
Limit CheckCooperative(Runtime& runtime, const LaunchConfig& config, const Code& code) {
  const uint64_t blocks = uint64_t{config.grid[0]} * config.grid[1] * config.grid[2];
  const int threads = static_cast<int>(config.block[0] * config.block[1] * config.block[2]);
  const int active = ActiveBlocks(runtime.arch(), Needs(code), threads, config.dynamic_shared);
  const uint64_t fit = static_cast<uint64_t>(active) *
                       static_cast<uint64_t>(LimitsOf(runtime.arch()).multiprocessors);
  if (blocks <= fit) return {};
  return {cudaErrorCooperativeLaunchTooLarge, "a cooperative grid of " + std::to_string(blocks) +
                                                  " blocks, of which " + std::to_string(fit) +
                                                  " fit on the device at once"};
}

}  // namespace

KernelNeeds Needs(const Code& code) {
  KernelNeeds needs;
  needs.static_shared = code.static_shared;
  needs.local_bytes = code.local_bytes;
  const ptx::Function& function = *code.function;
  for (const uint32_t* bound : {function.max_threads, function.required_threads}) {
    if (bound[0] == 0) continue;
    const uint64_t threads = uint64_t{bound[0]} * std::max(bound[1], 1u) * std::max(bound[2], 1u);
    needs.max_threads = static_cast<uint32_t>(std::min<uint64_t>(threads, needs.max_threads));
  }
  // What a compiler could do at most: the launch bounds' share of a multiprocessor's registers.
  needs.registers = needs.max_threads > 512 ? 64 : 128;
  return needs;
}

int ActiveBlocks(int arch, const KernelNeeds& needs, int threads, size_t dynamic_shared) {
  const Limits limits = LimitsOf(arch);
  if (threads <= 0 || static_cast<uint32_t>(threads) > needs.max_threads) return 0;
  const size_t shared = needs.static_shared + dynamic_shared;
  if (shared > limits.shared_per_block_opt_in) return 0;
  const int warps = (threads + 31) / 32;
  const int by_threads = limits.threads_per_multiprocessor / (warps * 32);
  const int by_shared =
      static_cast<int>(limits.shared_per_multiprocessor / (shared + limits.shared_reserved));
  return std::min({by_threads, by_shared, limits.blocks_per_multiprocessor});
}

cudaError_t PrepareKernel(Runtime& runtime, const LaunchArguments& arguments, const CallSite& site,
                          KernelWork* work) {
  KernelFunction* function = runtime.modules.Find(arguments.function);
  if (function == nullptr) return cudaErrorInvalidDeviceFunction;
  const Code* code = nullptr;
  const cudaError_t error = runtime.modules.Decode(runtime, *function, &code);
  if (error != cudaSuccess) return error;
  work->function = function;
  LaunchConfig& config = work->config;
  config.module = function->image->module.get();
  config.kernel = function->name;
  const dim3 &g = arguments.grid, &b = arguments.block;
  const uint32_t grid[3] = {g.x, g.y, g.z}, block[3] = {b.x, b.y, b.z};
  std::copy(grid, grid + 3, config.grid);
  std::copy(block, block + 3, config.block);
  config.dynamic_shared = static_cast<uint32_t>(std::min<size_t>(arguments.shared, UINT32_MAX));
  config.cooperative = arguments.cooperative;
  if (function->max_dynamic_shared != 0) {
    config.max_dynamic_shared = std::max(kSharedWithoutOptIn + 1, function->max_dynamic_shared);
  }
  Limit limit = CheckLimits(config, *code, runtime.arch());
  if (limit.error == 0 && arguments.cooperative) limit = CheckCooperative(runtime, config, *code);
  if (limit.error != 0) {
    runtime.Report(Check::kLaunch, site, Demangled(function->name) + ": " + limit.message);
    return static_cast<cudaError_t>(limit.error);
  }
  if (!code->function->params.empty() && arguments.args == nullptr) return cudaErrorInvalidValue;
  config.params = PackArguments(*code->function, arguments.args);
  return cudaSuccess;
}

cudaError_t Launch(Runtime& runtime, const LaunchArguments& arguments, cudaStream_t stream,
                   const CallSite& site) {
  KernelWork work;
  const cudaError_t error = PrepareKernel(runtime, arguments, site, &work);
  if (error != cudaSuccess) return error;
  runtime.streams.host_time += 2e-6;  // what a launch takes the host
  return Submit(runtime, stream, std::move(work), site);
}

cudaError_t Submit(Runtime& runtime, cudaStream_t handle, Work work, const CallSite& site,
                   OpPtr* op) {
  cudaStream_t stream = runtime.streams.Find(handle);
  if (stream == nullptr) return cudaErrorInvalidResourceHandle;
  if (stream->capture) return AddCaptured(*stream, std::move(work), site);
  const cudaError_t error = ImplicitInCapture(runtime, *stream);
  if (error != cudaSuccess) return error;
  const OpPtr queued = runtime.streams.Enqueue(stream, std::move(work), site);
  if (op != nullptr) *op = queued;
  return cudaSuccess;
}

}  // namespace softgpu
