// What kernels cost: per kernel (launches summed) and per launch, as JSON or as a table. The file
// is written as a whole, under another name first, so that nobody reads half of it.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "tests/softgpu/machine/launch.h"

namespace softgpu {

class CostReport {
 public:
  // Takes part in all launches of the device from now on; nullptr: options().report is empty.
  static std::unique_ptr<CostReport> Of(Device& device);
  explicit CostReport(int arch) : arch_(arch) {}
  // Thread-safe.
  void Add(const LaunchConfig& config, const Code& code, const Counters& counters);
  // To the file, or as a table to stderr where it is "-". Throws std::runtime_error.
  void Write(const std::string& path);
  std::string Json();
  std::string Table();

 private:
  // Launches that are kept one by one; all are in the kernels' sums.
  static constexpr size_t kMaxLaunches = 10000;
  struct Text {  // of a module
    std::string ptx, target;
    bool asked = false;
    std::map<std::string, uint32_t> registers;
  };
  struct LaunchCost {
    size_t kernel;
    uint32_t grid[3], block[3];
    uint32_t dynamic_shared;
    Counters counters;
    uint64_t blocks() const { return uint64_t{grid[0]} * grid[1] * grid[2]; }
    uint32_t threads() const { return block[0] * block[1] * block[2]; }
  };
  struct KernelCost {
    std::string name, mangled;
    uint32_t static_shared = 0;
    size_t module = 0;
    uint64_t launches = 0;
    Counters counters;
    LaunchCost last;
  };
  uint32_t Registers(const KernelCost& kernel);  // 0: not known

  const int arch_;
  std::mutex mutex_;
  std::map<const Module*, size_t> module_of_;
  std::vector<Text> modules_;
  std::map<std::pair<size_t, std::string>, size_t> kernel_of_;
  std::vector<KernelCost> kernels_;
  std::vector<LaunchCost> launches_;
  uint64_t left_out_ = 0;
};

}  // namespace softgpu
