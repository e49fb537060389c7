#include "tests/softgpu/runtime/runtime.h"

#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>

#include "tests/softgpu/runtime/not_covered.h"

namespace softgpu {
namespace {

Runtime* runtime_made = nullptr;
std::once_flag runtime_once;
int exit_status = 0;

// A mistake in the environment is no error of the program's.
std::unique_ptr<Device> DeviceOrExit() {
  try {
    return std::make_unique<Device>(Options::FromEnvironment());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "softgpu: %s\n", e.what());
    _exit(2);
  }
}

// The process is ending, and all of the program's own code has run.
__attribute__((destructor)) void AtEnd() {
  Runtime* runtime = Runtime::IfMade();
  if (runtime == nullptr) return;
  size_t findings = 0;
  bool report_failed = false;
  {
    const std::lock_guard<std::mutex> lock(runtime->mutex);
    runtime->streams.Drain(*runtime);
    if (runtime->sticky == cudaSuccess) runtime->ReportLeaks();
    findings = runtime->findings().count();
    report_failed = !runtime->WriteReport();
  }
  if (findings == 0 && !runtime->refused_kernels && !report_failed) return;
  if (findings != 0) {
    std::fprintf(stderr, "softgpu: %zu finding%s\n", findings, findings == 1 ? "" : "s");
  }
  if (exit_status != 0) return;
  // A program that did not notice must not count as passed.
  std::cout.flush();
  std::fflush(nullptr);
  _exit(kExitFindings);
}

}  // namespace

Runtime::Runtime() : device_(DeviceOrExit()), report_(CostReport::Of(*device_)) {
  streams.Seed(device_->options().seed);
  on_exit([](int status, void*) { exit_status = status; }, nullptr);
}

bool Runtime::WriteReport() {
  if (!report_) return true;
  try {
    report_->Write(device_->options().report);
    return true;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "softgpu: %s\n", e.what());
    return false;
  }
}

Runtime& Runtime::Get() {
  std::call_once(runtime_once, [] { runtime_made = new Runtime; });
  return *runtime_made;
}

Runtime* Runtime::IfMade() { return runtime_made; }

void Runtime::Report(Check check, const CallSite& site, const std::string& text) {
  if (!findings().On(check)) return;
  findings().Report(check, Place{}, site.Describe() + ": " + text);
}

uint64_t Runtime::GridWorkspace() {
  // As cooperative groups declare it: its size, then the barrier's word.
  constexpr uint32_t kBytes = 64;
  if (grid_workspace_ == 0) grid_workspace_ = memory().Allocate(kBytes, "the grid's barrier");
  if (grid_workspace_ == 0) return 0;
  std::memset(memory().Data(grid_workspace_), 0, kBytes);
  std::memcpy(memory().Data(grid_workspace_), &kBytes, sizeof(kBytes));
  memory().SetState(grid_workspace_, kBytes, kWritten);
  return grid_workspace_;
}

void Runtime::ReportLeaks() {
  const std::map<uint64_t, Allocation> living = memory().living();
  for (const auto& [address, site] : allocation_sites) {
    const auto found = living.find(address);
    if (found == living.end()) continue;
    Report(Check::kLeak, site,
           found->second.label + " (" + std::to_string(found->second.bytes) +
               " bytes) was never freed");
  }
  for (const auto& [address, block] : host_blocks) {
    if (!block.is_ours) continue;
    Report(Check::kLeak, block.site,
           block.label + " (" + std::to_string(block.bytes) + " bytes) was never freed");
  }
}

void Runtime::Reset() {
  streams.WaitAll(*this);
  ReportLeaks();
  for (const auto& [address, site] : allocation_sites) memory().Free(address);
  allocation_sites.clear();
  for (const auto& [address, block] : host_blocks) {
    memory().RemoveHost(reinterpret_cast<void*>(address));
    if (block.is_ours) std::free(reinterpret_cast<void*>(address));
  }
  host_blocks.clear();
  streams.Reset();
  modules.Reset();
  sticky = cudaSuccess;
}

cudaError_t& LastError() {
  thread_local cudaError_t error = cudaSuccess;
  return error;
}

bool& InHostFunction() {
  thread_local bool inside = false;
  return inside;
}

void SayOnce(const std::string& line) {
  static std::mutex mutex;
  static auto& said = *new std::set<std::string>;
  const std::lock_guard<std::mutex> lock(mutex);
  if (said.insert(line).second) std::fprintf(stderr, "%s\n", line.c_str());
}

cudaError_t NotSupported(const char* call, const std::string& what) {
  SayOnce("softgpu: " + std::string(call) + " is not covered" + (what.empty() ? "" : ": " + what));
  return cudaErrorNotSupported;
}

int NotCovered(const char* call) { return LastError() = NotSupported(call); }

cudaError_t Call(const char* name,
                 const std::function<cudaError_t(Runtime&, const CallSite&)>& body) {
  if (InHostFunction()) {
    SayOnce("softgpu: " + std::string(name) + " in a host function: CUDA allows no calls there");
    return LastError() = cudaErrorNotPermitted;
  }
  Runtime& runtime = Runtime::Get();
  const std::lock_guard<std::mutex> lock(runtime.mutex);
  if (runtime.sticky != cudaSuccess) return LastError() = runtime.sticky;
  const CallSite site = CallSite::Here(name);
  cudaError_t error = cudaSuccess;
  try {
    error = body(runtime, site);
  } catch (const std::bad_alloc&) {
    error = cudaErrorMemoryAllocation;
  } catch (const std::exception& e) {
    SayOnce("softgpu: " + std::string(name) + ": " + e.what());
    error = cudaErrorUnknown;
  }
  // What was waited for may have failed.
  if (error == cudaSuccess) error = runtime.sticky;
  if (error != cudaSuccess) LastError() = error;
  return error;
}

}  // namespace softgpu
