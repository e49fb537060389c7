// How fast kernels are interpreted, with all checks on: warp instructions a second on one core and
// on all, median of 5. Results are checked, so that what is timed is right.
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <cxxopts.hpp>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "tests/softgpu/machine/launch.h"

namespace softgpu {
namespace {

constexpr int kRuns = 5;

struct Benchmark {
  std::string kernel;
  uint32_t grid[2], block[2];
  uint32_t n;
  std::vector<std::vector<uint8_t>> buffers;
  bool scaled = false;          // the parameters are n, a factor, the buffers; else n, the buffers
  std::vector<float> expected;  // of the last buffer
};

template <class T>
std::vector<uint8_t> BytesOf(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// Small integers: sums are exact in every order, and in bfloat16.
std::vector<float> Values(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float& v : values) {
    seed = seed * 1664525 + 1013904223;
    v = static_cast<float>(static_cast<int>(seed >> 24) % 9 - 4);
  }
  return values;
}
uint16_t ToBfloat16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  return static_cast<uint16_t>(bits >> 16);
}

Benchmark Saxpy() {
  const uint32_t n = 1 << 20;
  const std::vector<float> x = Values(n, 1), y = Values(n, 2);
  Benchmark b = {"saxpy", {n / 256, 1}, {256, 1}, n, {BytesOf(x), BytesOf(y)}, true, y};
  for (uint32_t k = 0; k < n; ++k) b.expected[k] += 2 * x[k];
  return b;
}

Benchmark Product(const char* kernel, uint32_t n, uint32_t tile, uint32_t block_x, uint32_t block_y,
                  bool half) {
  const std::vector<float> x = Values(size_t{n} * n, 3), y = Values(size_t{n} * n, 4);
  Benchmark b = {kernel, {n / tile, n / tile}, {block_x, block_y}, n, {}, false, {}};
  for (const auto* source : {&x, &y}) {
    std::vector<uint16_t> rounded(source->size());
    std::transform(source->begin(), source->end(), rounded.begin(), ToBfloat16);
    b.buffers.push_back(half ? BytesOf(rounded) : BytesOf(*source));
  }
  b.buffers.emplace_back(size_t{n} * n * sizeof(float));
  b.expected.assign(size_t{n} * n, 0.0f);
  for (uint32_t i = 0; i < n; ++i) {
    for (uint32_t k = 0; k < n; ++k) {
      for (uint32_t j = 0; j < n; ++j) {
        b.expected[i * n + j] += x[i * n + k] * (half ? y[j * n + k] : y[k * n + j]);
      }
    }
  }
  return b;
}

struct Timing {
  double millions_a_second = 0;  // median
  uint64_t warp_insts = 0;
};

double Seconds(clockid_t clock) {
  timespec t;
  clock_gettime(clock, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// A benchmark's data on a device, ready to be launched.
struct Prepared {
  Prepared(const Benchmark& benchmark, const ptx::Module& parsed, int threads)
      : device(OptionsOf(threads)), module(device, parsed) {
    config.module = &module;
    config.kernel = benchmark.kernel;
    std::copy_n(benchmark.grid, 2, config.grid);
    std::copy_n(benchmark.block, 2, config.block);
    Add(benchmark.n, 0);
    if (benchmark.scaled) Add(2.0f, 4);
    DeviceMemory& memory = device.memory();
    for (const auto& bytes : benchmark.buffers) {
      result = memory.Allocate(bytes.size(), "buffer");
      std::memcpy(memory.Data(result), bytes.data(), bytes.size());
      memory.SetState(result, bytes.size(), kWritten);
      Add(result, (config.params.size() + 7) / 8 * 8);
    }
  }
  uint64_t Run() {
    const LaunchResult launch = device.Run(config);
    if (launch.error) throw std::runtime_error(launch.message);
    return launch.counters.warp_insts;
  }
  static Options OptionsOf(int threads) {
    Options options;
    options.threads = threads;
    options.memory = uint64_t{256} << 20;
    return options;
  }
  template <class T>
  void Add(const T& value, size_t at) {
    config.params.resize(at + sizeof(value));
    std::memcpy(&config.params[at], &value, sizeof(value));
  }

  Device device;
  Module module;
  LaunchConfig config;
  uint64_t result = 0;
};

// The first launch is checked and not timed: it decodes the kernel and touches memory for the first
// time. One core: by the time that the processor gave the program, so that others do not count.
Timing Measure(const Benchmark& benchmark, const ptx::Module& parsed, int threads) {
  Prepared prepared(benchmark, parsed, threads);
  Timing timing;
  timing.warp_insts = prepared.Run();
  if (std::memcmp(prepared.device.memory().Data(prepared.result), benchmark.expected.data(),
                  benchmark.expected.size() * sizeof(float)) != 0) {
    throw std::runtime_error(benchmark.kernel + ": wrong result");
  }
  const clockid_t clock = threads == 1 ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC;
  std::vector<double> rates;
  for (int run = 0; run < kRuns; ++run) {
    const double start = Seconds(clock);
    prepared.Run();
    rates.push_back(static_cast<double>(timing.warp_insts) / (Seconds(clock) - start) / 1e6);
  }
  std::sort(rates.begin(), rates.end());
  timing.millions_a_second = rates[kRuns / 2];
  return timing;
}

int Main(const std::string& json_path, const std::string& only) {
  std::ifstream file(SOFTGPU_BENCH_PTX);
  std::stringstream text;
  text << file.rdbuf();
  const ptx::Module parsed = ptx::Parse(text.str());
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const Benchmark benchmarks[] = {Saxpy(), Product("tiled_product", 256, 32, 32, 32, false),
                                  Product("mma_product", 512, 64, 128, 1, true)};
  nlohmann::json json = {
      {"cores", cores}, {"runs", kRuns}, {"benchmarks", nlohmann::json::array()}};
  std::printf("M warp instructions a second, all checks on, median of %d; %u cores\n", kRuns,
              cores);
  std::printf("%-16s %12s %10s %10s\n", "", "instructions", "one core", "all cores");
  for (const Benchmark& benchmark : benchmarks) {
    if (!only.empty() && benchmark.kernel != only) continue;
    const Timing one = Measure(benchmark, parsed, 1), all = Measure(benchmark, parsed, 0);
    std::printf("%-16s %12llu %10.2f %10.2f\n", benchmark.kernel.c_str(),
                static_cast<unsigned long long>(one.warp_insts), one.millions_a_second,
                all.millions_a_second);
    json["benchmarks"].push_back({{"kernel", benchmark.kernel},
                                  {"warp_instructions", one.warp_insts},
                                  {"one_core_millions_a_second", one.millions_a_second},
                                  {"all_cores_millions_a_second", all.millions_a_second}});
  }
  if (json_path.empty()) return 0;
  std::ofstream out(json_path);
  out << json.dump(2) << "\n";
  if (!out) throw std::runtime_error("cannot write " + json_path);
  return 0;
}

}  // namespace
}  // namespace softgpu

int main(int argc, char** argv) {
  try {
    cxxopts::Options options("softgpu_bench", "Speed of softgpu, all checks on");
    options.add_options()("json", "write the figures to this file",
                          cxxopts::value<std::string>()->default_value(""))(
        "only", "run this one: saxpy, tiled_product or mma_product",
        cxxopts::value<std::string>()->default_value(""))("help", "this text");
    const auto parsed = options.parse(argc, argv);
    if (parsed.count("help")) {
      std::cout << options.help();
      return 0;
    }
    return softgpu::Main(parsed["json"].as<std::string>(), parsed["only"].as<std::string>());
  } catch (const std::exception& error) {
    std::cerr << "softgpu_bench: " << error.what() << "\n";
    return 1;
  }
}
