// A device and the launches on it: modules loaded from PTX, kernels decoded when first launched,
// blocks spread over the processor's cores.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "tests/softgpu/machine/counters.h"
#include "tests/softgpu/machine/findings.h"
#include "tests/softgpu/machine/kernel.h"
#include "tests/softgpu/machine/memory.h"
#include "tests/softgpu/machine/races.h"

namespace softgpu {

struct Options {
  int arch = 80;                        // SOFTGPU_ARCH: 80 or 90
  uint64_t seed = 1;                    // SOFTGPU_SEED
  int threads = 0;                      // SOFTGPU_THREADS; 0: one a core
  uint64_t memory = uint64_t{8} << 30;  // SOFTGPU_MEMORY, bytes
  uint64_t max_instructions = 0;        // SOFTGPU_MAX_INSTRUCTIONS a warp; 0: no limit
  std::string off;                      // SOFTGPU_OFF: names of checks
  std::string report;                   // SOFTGPU_REPORT: file
  static Options FromEnvironment();  // throws std::invalid_argument: which variable, what it may be
};

// A kernel's name for readers: "ns::scale<float>", without parameters.
std::string Demangled(const std::string& name);

class Device;

// PTX on the device: its variables have memory, its kernels are decoded on demand.
class Module {
 public:
  // `placed`: where variables that are no device memory lie (managed ones), with their initial
  // value already there.
  Module(Device& device, ptx::Module parsed, std::map<std::string, uint64_t> placed = {});
  ~Module();
  // "file.cu:12" for a place of .loc; empty where there is none.
  std::string SourceText(const ptx::SourceLine& source) const;
  const ptx::Module& parsed() const { return parsed_; }
  Device& device() { return device_; }
  // Throws ptx::Error: an instruction that is not covered. Thread-safe.
  const Code& Decode(const std::string& function);
  // 0: no such variable.
  uint64_t VariableAddress(const std::string& name) const;
  int target_sm() const { return target_sm_; }  // 80 of sm_80

 private:
  Device& device_;
  ptx::Module parsed_;
  int target_sm_ = 0;
  std::map<std::string, uint64_t> addresses_;
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Code>> code_;
};

struct LaunchConfig {
  Module* module = nullptr;
  std::string kernel;  // mangled
  uint32_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1};
  uint32_t dynamic_shared = 0;
  std::vector<uint8_t> params;              // laid out as the entry's .param list
  bool cooperative = false;                 // all blocks at once
  uint64_t grid_workspace = 0;              // device address: of a grid's barrier; 0: none
  uint32_t max_dynamic_shared = 48 * 1024;  // with the kernel's opt-in attribute
};

// What keeps a launch from starting: a cudaError_t (0: nothing does) and one line.
struct Limit {
  int error = 0;
  std::string message;
};
Limit CheckLimits(const LaunchConfig& config, const Code& code, int arch);

struct LaunchResult {
  int error = 0;        // cudaError_t
  std::string message;  // one line, where error is not 0
  Counters counters;
};

// A running launch: what blocks and ops see.
struct Launch {
  Device* device = nullptr;
  const LaunchConfig* config = nullptr;
  const Code* code = nullptr;
  std::string kernel_name;  // demangled
  uint64_t serial = 0;
  uint64_t blocks = 0;
  uint32_t threads = 0, warps = 0;  // a block
  uint32_t shared_bytes = 0;        // static and dynamic
  uint32_t static_shared = 0;
  const uint8_t* params = nullptr;
  LaunchRaces* races = nullptr;
  std::atomic<uint64_t> next_block{0};
  std::atomic<bool> abort{false};
  std::atomic<bool> found{false};  // some check found something
  std::atomic<int> error{0};
};

// Host functions that device code calls by name (vprintf, __assertfail, malloc, free).
class Device {
 public:
  explicit Device(Options options);
  ~Device();
  const Options& options() const { return options_; }
  DeviceMemory& memory() { return memory_; }
  Findings& findings() { return findings_; }
  uint32_t multiprocessors() const { return options_.arch >= 90 ? 132 : 108; }
  // Runs to the end. Limits are checked, params are as many bytes as the kernel takes (else an
  // error). A finding inside makes the error non-zero, too. Launches run one after the other.
  LaunchResult Run(const LaunchConfig& config);
  // Called after every launch: for the report. May be empty.
  std::function<void(const LaunchConfig&, const Code&, const Counters&)> on_launch;

 private:
  Options options_;
  DeviceMemory memory_;
  Findings findings_;
  std::mutex mutex_;
  uint64_t serial_ = 0;
};

}  // namespace softgpu
