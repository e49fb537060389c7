// Devices, modules, and the life of a launch.
#include "tests/softgpu/machine/launch.h"

#include <cxxabi.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "tests/softgpu/machine/decode_function.h"
#include "tests/softgpu/machine/run_block.h"

namespace softgpu {
namespace {

uint64_t NumberFrom(const char* name, uint64_t otherwise, uint64_t least, uint64_t most) {
  const char* text = std::getenv(name);
  if (!text || !*text) return otherwise;
  uint64_t value = 0;
  const char* end = text + std::strlen(text);
  const auto [stop, error] = std::from_chars(text, end, value);
  if (error != std::errc() || stop != end || value < least || value > most) {
    throw std::invalid_argument(std::string(name) + "=" + text + ": must be a whole number from " +
                                std::to_string(least) + " to " + std::to_string(most));
  }
  return value;
}

std::string TextFrom(const char* name) {
  const char* text = std::getenv(name);
  return text ? text : "";
}

std::string Dimensions(const uint32_t* d) {
  return std::to_string(d[0]) + "x" + std::to_string(d[1]) + "x" + std::to_string(d[2]);
}

}  // namespace

std::string Demangled(const std::string& name) {
  int status = 0;
  char* text = abi::__cxa_demangle(name.c_str(), nullptr, nullptr, &status);
  if (status != 0 || !text) return name;
  std::string all(text);
  std::free(text);
  // Parameters say little and are long: the last (...) goes; a template's return type, too.
  if (all.ends_with(')')) {
    int depth = 0;
    size_t at = all.size();
    do {
      --at;
      depth += all[at] == ')' ? 1 : all[at] == '(' ? -1 : 0;
    } while (depth != 0 && at != 0);
    all.resize(at);
  }
  if (all.rfind("void ", 0) == 0) all.erase(0, 5);
  constexpr size_t kReadable = 80;
  if (all.size() <= kReadable) return all;
  std::string brief;
  int depth = 0;
  for (char c : all) {
    if (c == '<' && depth++ == 0) brief += "<...>";
    if (depth == 0) brief += c;
    if (c == '>') --depth;
  }
  return brief;
}

Limit CheckLimits(const LaunchConfig& config, const Code& code, int arch) {
  const uint32_t* g = config.grid;
  const uint32_t* b = config.block;
  const auto invalid = [](std::string text) {
    return Limit{kErrorInvalidConfiguration, std::move(text)};
  };
  const uint64_t threads = uint64_t{b[0]} * b[1] * b[2];
  if (threads == 0 || threads > 1024 || b[0] > 1024 || b[1] > 1024 || b[2] > 64) {
    return invalid("block " + Dimensions(b) + ": 1 to 1024 threads, at most 1024x1024x64");
  }
  if (g[0] == 0 || g[1] == 0 || g[2] == 0 || g[0] > 0x7fffffffu || g[1] > 65535 || g[2] > 65535) {
    return invalid("grid " + Dimensions(g) + ": at least 1, at most 2147483647x65535x65535");
  }
  const ptx::Function& function = *code.function;
  const uint32_t* required = function.required_threads;
  if (required[0] && (b[0] != required[0] || b[1] != std::max(1u, required[1]) ||
                      b[2] != std::max(1u, required[2]))) {
    return invalid("block " + Dimensions(b) + ", the kernel requires " + Dimensions(required));
  }
  if (const uint32_t* most = function.max_threads; most[0]) {
    const uint64_t limit = uint64_t{most[0]} * std::max(1u, most[1]) * std::max(1u, most[2]);
    if (threads > limit) {
      return {kErrorLaunchOutOfResources, "block of " + std::to_string(threads) +
                                              " threads, the kernel was built for at most " +
                                              std::to_string(limit)};
    }
  }
  const uint32_t opt_in = arch >= 90 ? 227 * 1024 : 163 * 1024;
  if (code.static_shared > 48 * 1024) {
    return invalid("the kernel has " + std::to_string(code.static_shared) +
                   " bytes of static shared memory, at most 49152 fit");
  }
  if (config.dynamic_shared > config.max_dynamic_shared ||
      uint64_t{code.static_shared} + config.dynamic_shared > opt_in) {
    return {kErrorInvalidValue,
            std::to_string(config.dynamic_shared) + " bytes of dynamic shared memory, with " +
                std::to_string(code.static_shared) + " static ones; the kernel may have " +
                std::to_string(config.max_dynamic_shared) +
                " (cudaFuncAttributeMaxDynamicSharedMemorySize), a block " +
                std::to_string(opt_in)};
  }
  if (uint64_t{code.static_shared} + config.dynamic_shared > 48 * 1024 &&
      config.max_dynamic_shared <= 48 * 1024) {
    return {kErrorInvalidValue, "static and dynamic shared memory together are " +
                                    std::to_string(code.static_shared + config.dynamic_shared) +
                                    " bytes: more than 49152 need "
                                    "cudaFuncAttributeMaxDynamicSharedMemorySize"};
  }
  return {};
}

namespace {

void KeepError(Launch& launch, int error) {
  int none = 0;
  launch.error.compare_exchange_strong(none, error);
  launch.abort = true;
}

// Blocks in index order, each to its end before the worker takes the next one.
void RunBlocks(Launch& launch, Counters& counters) {
  BlockRunner runner(launch);
  try {
    while (!launch.abort) {
      const uint64_t index = launch.next_block++;
      if (index >= launch.blocks) break;
      runner.Start(index);
      while (runner.Step()) {
        if (launch.abort) break;
      }
    }
  } catch (const LaunchFault& fault) {
    KeepError(launch, fault.error);
  }
  counters = runner.counters();
}

// A cooperative grid's blocks wait for each other: all of the worker's share go on in turns.
void RunTogether(Launch& launch, uint64_t worker, uint64_t workers, Counters& counters) {
  std::vector<std::unique_ptr<BlockRunner>> runners;
  try {
    for (uint64_t index = worker; index < launch.blocks; index += workers) {
      runners.push_back(std::make_unique<BlockRunner>(launch));
      runners.back()->Start(index);
    }
    std::vector<bool> done(runners.size(), false);
    for (size_t left = runners.size(); left && !launch.abort;) {
      for (size_t k = 0; k < runners.size(); ++k) {
        if (done[k] || runners[k]->Step()) continue;
        done[k] = true;
        --left;
      }
    }
  } catch (const LaunchFault& fault) {
    KeepError(launch, fault.error);
  }
  for (const auto& runner : runners) counters.Add(runner->counters());
}

}  // namespace

Options Options::FromEnvironment() {
  Options o;
  o.arch = static_cast<int>(NumberFrom("SOFTGPU_ARCH", 80, 80, 90));
  if (o.arch != 80 && o.arch != 90) throw std::invalid_argument("SOFTGPU_ARCH must be 80 or 90");
  o.seed = NumberFrom("SOFTGPU_SEED", 1, 0, UINT64_MAX);
  o.threads = static_cast<int>(NumberFrom("SOFTGPU_THREADS", 0, 0, 1024));
  o.memory = NumberFrom("SOFTGPU_MEMORY", o.memory, 1 << 20, uint64_t{1} << 40);
  o.max_instructions = NumberFrom("SOFTGPU_MAX_INSTRUCTIONS", 0, 0, UINT64_MAX);
  o.off = TextFrom("SOFTGPU_OFF");
  o.report = TextFrom("SOFTGPU_REPORT");
  return o;
}

Module::Module(Device& device, ptx::Module parsed, std::map<std::string, uint64_t> placed)
    : device_(device), parsed_(std::move(parsed)), addresses_(std::move(placed)) {
  if (parsed_.target.rfind("sm_", 0) == 0) {
    target_sm_ = std::atoi(parsed_.target.c_str() + 3);
  }
  DeviceMemory& memory = device.memory();
  for (const ptx::Variable& variable : parsed_.variables) {
    if (variable.space != ptx::Space::kGlobal && variable.space != ptx::Space::kConst) continue;
    if (variable.is_extern || addresses_.count(variable.name)) continue;
    const uint64_t address = memory.Allocate(variable.bytes, "variable " + variable.name);
    if (!address) throw std::runtime_error("no device memory for variable " + variable.name);
    addresses_[variable.name] = address;
    std::memset(memory.Data(address), 0, variable.bytes);
    if (!variable.initial.empty()) {
      std::memcpy(memory.Data(address), variable.initial.data(), variable.initial.size());
    }
    memory.SetState(address, variable.bytes, kWritten);
  }
  for (const ptx::Variable& variable : parsed_.variables) {
    for (const ptx::Relocation& relocation : variable.relocations) {
      uint64_t value = VariableAddress(relocation.symbol);
      for (size_t k = 0; k < parsed_.functions.size() && !value; ++k) {
        if (parsed_.functions[k].name == relocation.symbol) value = kFunctionWindow + k;
      }
      if (!value) {
        throw ptx::Error(variable.line, variable.name + " holds the address of '" +
                                            relocation.symbol + "', which is not defined");
      }
      value += static_cast<uint64_t>(relocation.addend);
      const uint64_t address = addresses_[variable.name];
      uint8_t* bytes =
          memory.Contains(address) ? memory.Data(address) : reinterpret_cast<uint8_t*>(address);
      std::memcpy(bytes + relocation.offset, &value,
                  static_cast<size_t>(std::min(relocation.bytes, 8)));
    }
  }
}

Module::~Module() {
  for (const auto& [name, address] : addresses_) device_.memory().Free(address);
}

const Code& Module::Decode(const std::string& name) {
  const std::lock_guard<std::mutex> lock(mutex_);
  std::unique_ptr<Code>& code = code_[name];
  if (!code) {
    const ptx::Function* function = parsed_.FindFunction(name);
    if (!function || !function->is_entry) {
      throw ptx::Error(0, "there is no kernel '" + name + "' in this module");
    }
    code = DecodeKernel(*this, *function);
  }
  return *code;
}

uint64_t Module::VariableAddress(const std::string& name) const {
  const auto found = addresses_.find(name);
  return found == addresses_.end() ? 0 : found->second;
}

std::string Module::SourceText(const ptx::SourceLine& source) const {
  const auto found = parsed_.files.find(source.file);
  if (source.line == 0 || found == parsed_.files.end()) return "";
  const std::string& path = found->second;
  return path.substr(path.rfind('/') + 1) + ":" + std::to_string(source.line);
}

Device::Device(Options options) : options_(std::move(options)), memory_(options_.memory) {
  findings_.SwitchOff(options_.off);
}

Device::~Device() = default;

LaunchResult Device::Run(const LaunchConfig& config) {
  const std::lock_guard<std::mutex> lock(mutex_);
  LaunchResult result;
  const auto refuse = [&](int error, const std::string& message) {
    result.error = error;
    result.message = Demangled(config.kernel) + ": " + message;
    return result;
  };
  const Code* code = nullptr;
  try {
    code = &config.module->Decode(config.kernel);
  } catch (const ptx::Error& error) {
    return refuse(config.module->parsed().FindFunction(config.kernel) ? kErrorInvalidPtx
                                                                      : kErrorInvalidDeviceFunction,
                  error.what());
  }
  const Limit limit = CheckLimits(config, *code, options_.arch);
  if (limit.error) {
    Place place;
    place.kernel = Demangled(config.kernel);
    findings_.Report(Check::kLaunch, place, limit.message);
    return refuse(limit.error, limit.message);
  }
  if (config.params.size() != code->param_bytes) {
    return refuse(kErrorInvalidValue, std::to_string(config.params.size()) +
                                          " bytes of parameters, the kernel takes " +
                                          std::to_string(code->param_bytes));
  }
  Launch launch;
  launch.device = this;
  launch.config = &config;
  launch.code = code;
  launch.kernel_name = Demangled(config.kernel);
  launch.serial = ++serial_;
  launch.blocks = uint64_t{config.grid[0]} * config.grid[1] * config.grid[2];
  launch.threads = config.block[0] * config.block[1] * config.block[2];
  launch.warps = (launch.threads + kLanes - 1) / kLanes;
  launch.static_shared = code->static_shared;
  launch.shared_bytes = code->static_shared + config.dynamic_shared;
  launch.params = config.params.data();
  constexpr uint64_t kMostTogether = 4096;
  if (config.cooperative && launch.blocks > kMostTogether) {
    return refuse(kErrorCooperativeLaunchTooLarge, std::to_string(launch.blocks) +
                                                       " blocks cannot run at once, at most " +
                                                       std::to_string(kMostTogether) + " can");
  }
  std::unique_ptr<LaunchRaces> races;
  if (findings_.On(Check::kRaceGlobal) || findings_.On(Check::kRaceShared)) {
    races = std::make_unique<LaunchRaces>(memory_, findings_.On(Check::kRaceGlobal),
                                          findings_.On(Check::kRaceShared));
    launch.races = races.get();
  }
  uint64_t workers = options_.threads > 0 ? static_cast<uint64_t>(options_.threads)
                                          : std::max(1u, std::thread::hardware_concurrency());
  workers = std::min(workers, launch.blocks);
  std::vector<Counters> counters(workers);
  const auto work = [&](uint64_t worker) {
    if (config.cooperative) {
      RunTogether(launch, worker, workers, counters[worker]);
    } else {
      RunBlocks(launch, counters[worker]);
    }
  };
  std::vector<std::thread> threads;
  for (uint64_t worker = 1; worker < workers; ++worker) threads.emplace_back(work, worker);
  work(0);
  for (std::thread& thread : threads) thread.join();
  for (const Counters& part : counters) result.counters.Add(part);
  if (on_launch) on_launch(config, *code, result.counters);
  result.error = launch.error;
  if (!result.error && launch.found) result.error = kErrorLaunchFailure;
  if (result.error) {
    result.message = launch.kernel_name + ": a check found a fault (" +
                     std::to_string(findings_.count()) + " so far)";
  }
  return result;
}

}  // namespace softgpu
