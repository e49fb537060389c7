// The state behind CUDA's C interface. There is one, since CUDA's functions take no object; it is
// made at the first call and never destroyed, so that static objects of a program may still free
// their memory when the process ends.
#pragma once

#include <cuda_runtime_api.h>

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "tests/softgpu/machine/launch.h"
#include "tests/softgpu/report/report.h"
#include "tests/softgpu/runtime/call_site.h"
#include "tests/softgpu/runtime/modules.h"
#include "tests/softgpu/runtime/pinned.h"
#include "tests/softgpu/runtime/streams.h"

namespace softgpu {

// A program that ended well in spite of findings ends with this code.
inline constexpr int kExitFindings = 86;

class Runtime {
 public:
  static Runtime& Get();
  // nullptr where no call has been made: at the process' end.
  static Runtime* IfMade();

  std::mutex mutex;  // held by every call but while host functions run
  Device& device() { return *device_; }
  // Where SOFTGPU_REPORT asks for one. False: it could not be written, and that was said.
  bool WriteReport();
  DeviceMemory& memory() { return device_->memory(); }
  Findings& findings() { return device_->findings(); }
  int arch() const { return device_->options().arch; }

  Modules modules;
  Streams streams;
  std::vector<std::shared_ptr<Capture>> captures;  // going on
  Pinned pinned;
  // Where an allocation was made; keyed by its address.
  std::map<uint64_t, CallSite> allocation_sites;
  uint64_t allocations_made = 0;   // for labels
  std::set<uint64_t> freed_async;  // queued to be freed
  std::set<uint64_t> managed;      // addresses of managed memory
  struct HostBlock {
    CallSite site;
    std::string label;
    uint64_t bytes = 0;
    unsigned flags = 0;
    bool is_ours = false;  // to free; else registered
  };
  std::map<uint64_t, HostBlock> host_blocks;  // pinned, managed, registered

  // After a fault of a kernel every call returns it, as on a GPU.
  cudaError_t sticky = cudaSuccess;
  void Fault(cudaError_t error) {
    if (sticky == cudaSuccess) sticky = error;
  }
  // Zeroed device memory in which a cooperative launch keeps its grid's barrier. One for all: one
  // launch runs at a time.
  uint64_t GridWorkspace();
  // A kernel could not be run at all: a program that does not look at errors must not pass.
  bool refused_kernels = false;
  // A finding of the host: the text gets the call and its place.
  void Report(Check check, const CallSite& site, const std::string& text);

  // What still lives is a leak; then everything is as at the start.
  void ReportLeaks();
  void Reset();

 private:
  Runtime();
  std::unique_ptr<Device> device_;
  std::unique_ptr<CostReport> report_;
  uint64_t grid_workspace_ = 0;
};

// One call of the interface: takes the lock, refuses where an earlier fault is sticky, turns
// exceptions into errors, and remembers the error for cudaGetLastError.
cudaError_t Call(const char* name,
                 const std::function<cudaError_t(Runtime&, const CallSite&)>& body);
#define SOFTGPU_CALL(...) ::softgpu::Call(__func__, __VA_ARGS__)

// This thread's last error.
cudaError_t& LastError();
// True while this thread runs a host function of a stream: CUDA allows no calls there.
bool& InHostFunction();
// A line on stderr, once for each text.
void SayOnce(const std::string& line);
// Prints once that the call is not covered.
cudaError_t NotSupported(const char* call, const std::string& what = "");

}  // namespace softgpu
