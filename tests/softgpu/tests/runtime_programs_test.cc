// Programs without a fault: whatever order softgpu chooses for their streams, blocks and warps,
// their results are right and nothing is found. Then, programs that softgpu can't run.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <sstream>

#include "tests/softgpu/tests/run_program.h"

namespace softgpu {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class Program : public testing::TestWithParam<const char*> {};

TEST_P(Program, RightForEverySeed) {
  const std::string name = GetParam();
  if (name == "runtime_cutlass" && !SOFTGPU_HAS_CUTLASS) {
    GTEST_SKIP() << "no headers of CUTLASS; pip install nvidia-cutlass, or "
                    "-DLSEG_CUTLASS_INCLUDE=DIR";
  }
  // Faults that the program makes on purpose, to see the error.
  const std::string flags = name == "runtime_launches" ? "--off launch,assert,leak" : "";
  for (uint64_t seed = 1; seed <= kSeeds; ++seed) {
    const Outcome outcome = RunProgram(seed, flags, name);
    EXPECT_EQ(outcome.code, 0) << "seed " << seed << "\n" << outcome.output;
  }
}

INSTANTIATE_TEST_SUITE_P(Runtime, Program,
                         testing::Values("runtime_cub", "runtime_cutlass", "runtime_samples",
                                         "runtime_memory", "runtime_streams", "runtime_graphs",
                                         "runtime_symbols", "runtime_launches"),
                         [](const auto& info) { return std::string(info.param); });

TEST(Program, LimitsOfTheOtherDevice) {
  const Outcome outcome = RunProgram(1, "--arch 90 --off launch,assert,leak", "runtime_launches");
  EXPECT_EQ(outcome.code, 0) << outcome.output;
}

TEST(Program, PrintfOfTheDeviceAndCallsThatAreNotCovered) {
  EXPECT_THAT(RunProgram(1, "", "runtime_symbols").output,
              HasSubstr("block 1 thread 0 says hello"));
  EXPECT_THAT(RunProgram(1, "--off launch,assert,leak", "runtime_launches").output,
              HasSubstr("softgpu: cudaMallocArray is not covered"));
}

TEST(Program, BuiltWithOtherFlagsIsToldThem) {
  const auto flags =
      HasSubstr("-cudart shared -gencode arch=compute_80,code=compute_80 -Xfatbin -compress=false");
  const Outcome compressed = RunProgram(1, "", "runtime_compressed");
  EXPECT_EQ(compressed.code, kExitFindings);
  EXPECT_THAT(compressed.output, AllOf(HasSubstr("PTX is compressed"), flags));
  const Outcome machine_code = RunProgram(1, "", "runtime_machine_code");
  EXPECT_EQ(machine_code.code, kExitFindings);
  EXPECT_THAT(machine_code.output, AllOf(HasSubstr("holds no PTX"), flags));
  const Outcome static_runtime = RunProgram(1, "", "runtime_static");
  EXPECT_EQ(static_runtime.code, 2);
  EXPECT_THAT(static_runtime.output, AllOf(HasSubstr("does not use libcudart.so.13"), flags));
}

TEST(SoftgpuRun, FlagsAndExitCodes) {
  const std::string run(SOFTGPU_RUN);
  const Outcome help = RunCommand(run + " --help");
  EXPECT_EQ(help.code, 0);
  EXPECT_THAT(help.output, AllOf(HasSubstr("usage: softgpu-run"), HasSubstr("--seed"),
                                 HasSubstr("--off"), HasSubstr("-cudart shared")));
  EXPECT_EQ(RunCommand(run).code, 2);
  EXPECT_EQ(RunCommand(run + " --nonsense true").code, 2);
  EXPECT_EQ(RunCommand(run + " --seed").code, 2);
  EXPECT_EQ(RunCommand(run + " /no/such/program").code, 2);
  EXPECT_EQ(RunCommand(run + " true").code, 0);
  EXPECT_EQ(RunCommand(run + " sh -c 'exit 5'").code, 5);
  const Outcome arch = RunProgram(1, "--arch 70", "runtime_samples");
  EXPECT_EQ(arch.code, 2);
  EXPECT_THAT(arch.output, HasSubstr("SOFTGPU_ARCH"));
  const Outcome off = RunProgram(1, "--off leek", "runtime_samples");
  EXPECT_EQ(off.code, 2) << off.output;
  EXPECT_THAT(off.output, HasSubstr("no check is called 'leek'"));
}

// The functions that a library exports.
std::set<std::string> Exports(const std::string& library) {
  const Outcome nm = RunCommand("nm -D --defined-only " + library);
  std::set<std::string> names;
  std::istringstream words(nm.output);
  for (std::string word; words >> word;) {
    if (word.find("cuda") != std::string::npos) names.insert(word.substr(0, word.find('@')));
  }
  return names;
}

TEST(Library, ExportsWhatTheToolkitsDoesAndNoMore) {
  const std::string toolkits = SOFTGPU_TOOLKIT_CUDART;
  if (toolkits.empty()) GTEST_SKIP() << "the toolkit has no shared runtime to compare with";
  std::set<std::string> want = Exports(toolkits);
  std::erase_if(want, [](const std::string& name) { return name.rfind("libcudart", 0) == 0; });
  std::set<std::string> got = Exports(std::string(SOFTGPU_CUDART_DIR) + "/libcudart.so.13");
  std::erase_if(got, [](const std::string& name) { return name.rfind("libcudart", 0) == 0; });
  EXPECT_GT(want.size(), 300u);
  EXPECT_EQ(got, want);
}

}  // namespace
}  // namespace softgpu
