// The life of one run: files in, device memory, launch, memory back, files out.
#include "tests/softgpu/cli/run_kernel.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "tests/softgpu/ptx/module.h"
#include "tests/softgpu/report/report.h"

namespace softgpu {
namespace {

ptx::Module ParseFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + ": can't be opened");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  try {
    return ptx::Parse(text);
  } catch (const ptx::Error& error) {
    throw std::runtime_error(path + ": " + error.what());
  }
}

const ptx::Function& FindKernel(const ptx::Module& module, const KernelRun& run) {
  const ptx::Function* kernel = module.FindFunction(run.kernel);
  if (kernel != nullptr && kernel->is_entry && !kernel->is_declared_only) return *kernel;
  std::string others;
  for (const ptx::Function& f : module.functions) {
    if (f.is_entry) others += (others.empty() ? "" : ", ") + f.name;
  }
  throw std::runtime_error(run.ptx_file + ": no kernel '" + run.kernel + "'; it holds " +
                           (others.empty() ? "none" : others));
}

uint64_t CopyIn(Device& device, const Argument& argument, const Array& array) {
  const uint64_t address = device.memory().Allocate(array.bytes.size(), argument.in);
  if (address == 0) throw std::runtime_error(argument.in + ": does not fit the device's memory");
  if (!array.bytes.empty()) {
    std::memcpy(device.memory().Data(address), array.bytes.data(), array.bytes.size());
    device.memory().SetState(address, array.bytes.size(), kWritten);
  }
  return address;
}

// A value that was never written (a register stored before it was set) is found when it leaves.
void CopyOut(Device& device, const KernelRun& run, const Argument& argument, uint64_t address,
             Array& array) {
  const uint64_t bytes = array.bytes.size();
  if (bytes == 0) return;
  const uint64_t unwritten = device.memory().FirstUnwritten(address, bytes);
  if (unwritten != ~uint64_t{0}) {
    Place place;
    place.kernel = run.kernel;
    device.findings().Report(Check::kUninitialised, place,
                             "copied back to the host: " + device.memory().Describe(unwritten) +
                                 ", holds a value that was never written");
  }
  std::memcpy(array.bytes.data(), device.memory().Data(address), bytes);
  if (!argument.out.empty()) WriteNpy(argument.out, array);
}

}  // namespace

KernelOutcome RunKernel(const KernelRun& run, Options options) {
  ptx::Module parsed = ParseFile(run.ptx_file);
  if (options.arch == kArchOfPtx) options.arch = parsed.target < "sm_90" ? 80 : 90;
  Device device(options);
  Module module(device, std::move(parsed));
  const ptx::Function& kernel = FindKernel(module.parsed(), run);
  KernelOutcome outcome;
  std::vector<std::vector<uint8_t>> values;
  std::vector<uint64_t> addresses;
  for (const Argument& argument : run.arguments) {
    outcome.arrays.emplace_back();
    addresses.push_back(0);
    values.push_back(argument.value);
    if (argument.in.empty()) continue;
    outcome.arrays.back() = ReadNpy(argument.in);
    addresses.back() = CopyIn(device, argument, outcome.arrays.back());
    values.back().resize(sizeof(uint64_t));
    std::memcpy(values.back().data(), &addresses.back(), sizeof(uint64_t));
  }
  LaunchConfig config;
  config.module = &module;
  config.kernel = run.kernel;
  std::memcpy(config.grid, run.grid, sizeof(config.grid));
  std::memcpy(config.block, run.block, sizeof(config.block));
  config.dynamic_shared = run.dynamic_shared;
  config.max_dynamic_shared = ~0u;  // opted in; the device's own limit holds
  config.params = PackParameters(kernel, values);
  const std::unique_ptr<CostReport> report = CostReport::Of(device);
  outcome.launch = device.Run(config);
  if (report) report->Write(device.options().report);
  for (size_t i = 0; i < run.arguments.size(); ++i) {
    if (run.arguments[i].in.empty()) continue;
    CopyOut(device, run, run.arguments[i], addresses[i], outcome.arrays[i]);
  }
  outcome.findings = device.findings().count();
  return outcome;
}

}  // namespace softgpu
