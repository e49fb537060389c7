// Kernels of another compiler, Triton, with numpy's answers in double precision (triton/make.py,
// and triton/manifest.json): whoever writes a kernel and its interpreter can misread the manual
// twice the same way. Each runs for ten seeds, that is ten orders of warps and blocks.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/softgpu/cli/run_kernel.h"

namespace softgpu {
namespace {

using Json = nlohmann::json;

const std::string kDirectory = SOFTGPU_TRITON_DIR "/";

std::vector<Json> Cases() {
  std::vector<Json> cases;
  for (const char* name : {"manifest.json", "made.json"}) {
    std::ifstream file(kDirectory + name);
    for (Json& one : Json::parse(file)) cases.push_back(std::move(one));
  }
  return cases;
}

KernelRun RunOf(const Json& one) {
  KernelRun run;
  run.ptx_file = kDirectory + one.at("ptx").get<std::string>();
  run.kernel = one.at("kernel");
  for (size_t i = 0; i < 3; ++i) {
    run.grid[i] = one.at("grid").at(i);
    run.block[i] = one.at("block").at(i);
  }
  run.dynamic_shared = one.at("dynamic_shared");
  for (const Json& argument : one.at("args")) {
    std::string text;
    if (argument.contains("buffer")) {
      text = kDirectory + argument.at("buffer").get<std::string>();
    } else {
      for (const char* type : {"i32", "u64", "f32"}) {
        if (argument.contains(type)) text = std::string(type) + ":" + argument.at(type).dump();
      }
    }
    run.arguments.push_back(ParseArgument(text));
  }
  return run;
}

double Half(uint16_t bits) {
  const int exponent = bits >> 10 & 31, fraction = bits & 1023;
  const double magnitude = exponent == 31  ? (fraction != 0 ? NAN : INFINITY)
                           : exponent == 0 ? std::ldexp(fraction, -24)
                                           : std::ldexp(fraction + 1024, exponent - 25);
  return bits >> 15 ? -magnitude : magnitude;
}

template <class T>
std::vector<double> Convert(const Array& array) {
  std::vector<T> values(array.bytes.size() / sizeof(T));
  std::memcpy(values.data(), array.bytes.data(), array.bytes.size());
  if constexpr (std::is_same_v<T, uint16_t>) {
    std::vector<double> out;
    for (uint16_t v : values) out.push_back(Half(v));
    return out;
  }
  return {values.begin(), values.end()};
}

std::vector<double> Values(const Array& array) {
  if (array.dtype == "<f4") return Convert<float>(array);
  if (array.dtype == "<f8") return Convert<double>(array);
  if (array.dtype == "<i4") return Convert<int32_t>(array);
  if (array.dtype == "<f2") return Convert<uint16_t>(array);
  ADD_FAILURE() << "no conversion of dtype " << array.dtype;
  return {};
}

void Compare(const Json& one, const std::string& name, const Array& got) {
  const std::vector<double> want =
      Values(ReadNpy(kDirectory + one.at("want").at(name).get<std::string>()));
  const std::vector<double> values = Values(got);
  ASSERT_EQ(values.size(), want.size()) << name;
  double largest = 0;
  for (double w : want) largest = std::max(largest, std::abs(w));
  ASSERT_GT(largest, 0) << name;
  double worst = 0;
  for (size_t i = 0; i < want.size(); ++i) {
    const double difference = std::abs(values[i] - want[i]);
    worst = std::max(worst, std::isnan(difference) ? INFINITY : difference);
  }
  EXPECT_LE(worst / largest, one.at("tolerance_of_max").get<double>()) << name;
}

class TritonTest : public testing::TestWithParam<Json> {};

TEST_P(TritonTest, EqualsNumpyForTenSeeds) {
  const Json& one = GetParam();
  const KernelRun run = RunOf(one);
  Options options;
  options.arch = kArchOfPtx;
  options.memory = uint64_t{256} << 20;
  for (options.seed = 1; options.seed <= 10; ++options.seed) {
    SCOPED_TRACE("seed " + std::to_string(options.seed));
    const KernelOutcome outcome = RunKernel(run, options);
    ASSERT_EQ(outcome.launch.error, 0) << outcome.launch.message;
    ASSERT_EQ(outcome.findings, 0u);
    for (size_t i = 0; i < run.arguments.size(); ++i) {
      const std::string name = one.at("args").at(i).at("name");
      if (one.at("want").contains(name)) Compare(one, name, outcome.arrays[i]);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, TritonTest, testing::ValuesIn(Cases()), [](const auto& info) {
  return info.param.at("name").template get<std::string>();
});

}  // namespace
}  // namespace softgpu
