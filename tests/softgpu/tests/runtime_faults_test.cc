// A planted fault of every kind that host code can have is found, at its line; the same program
// without it passes for every seed.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>

#include "tests/softgpu/tests/run_program.h"

namespace softgpu {
namespace {

using testing::HasSubstr;

struct Fault {
  const char* name;
  const char* check;  // its name; empty: the program's own test of its results fails
  bool every_seed;    // else by one of the seeds at least
};

void PrintTo(const Fault& fault, std::ostream* os) { *os << fault.name; }

// Where the program's source says "// found: NAME".
std::string Line(const std::string& name) {
  std::ifstream source(SOFTGPU_HOST_FAULTS);
  std::string line;
  for (int n = 1; std::getline(source, line); ++n) {
    if (line.ends_with("// found: " + name)) return "host_faults.cu:" + std::to_string(n);
  }
  return "";
}

class HostFault : public testing::TestWithParam<Fault> {};

TEST_P(HostFault, IsFound) {
  const Fault& fault = GetParam();
  const uint64_t seeds = fault.every_seed ? 3 : kSeeds;
  uint64_t found = 0;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const Outcome outcome = RunProgram(seed, "", std::string("runtime_host_faults ") + fault.name);
    found += outcome.code != 0;
    if (outcome.code == 0 || fault.check[0] == '\0') continue;
    EXPECT_THAT(outcome.output, HasSubstr(std::string("softgpu: ") + fault.check + ": "));
    EXPECT_THAT(outcome.output, HasSubstr(Line(fault.name)));
  }
  if (fault.every_seed) {
    EXPECT_EQ(found, seeds);
  } else {
    EXPECT_GT(found, 0u);
  }
}

TEST_P(HostFault, IsNotFoundWithoutIt) {
  const uint64_t seeds = GetParam().every_seed ? 3 : kSeeds;
  for (uint64_t seed = 1; seed <= seeds; ++seed) {
    const Outcome outcome =
        RunProgram(seed, "", std::string("runtime_host_faults ") + GetParam().name + " fixed");
    EXPECT_EQ(outcome.code, 0) << outcome.output;
    EXPECT_EQ(outcome.output, "");
  }
}

TEST(HostFaults, CanBeSwitchedOff) {
  for (const auto& [check, fault] :
       std::map<std::string, std::string>{{"host-copy", "copy-range"},
                                          {"double-free", "double-free"},
                                          {"leak", "leak"},
                                          {"pinned", "pinned-source"},
                                          {"uninitialised", "uninitialised"},
                                          {"launch", "launch-limit"}}) {
    const Outcome outcome = RunProgram(1, "--off " + check, "runtime_host_faults " + fault);
    EXPECT_EQ(outcome.code, 0) << check;
    EXPECT_EQ(outcome.output, "");
  }
}

INSTANTIATE_TEST_SUITE_P(
    Runtime, HostFault,
    testing::Values(
        Fault{"copy-range", "host-copy", true}, Fault{"copy-direction", "host-copy", true},
        Fault{"copy-freed", "host-copy", true}, Fault{"symbol-range", "host-copy", true},
        Fault{"double-free", "double-free", true}, Fault{"free-inside", "double-free", true},
        Fault{"leak", "leak", true}, Fault{"pinned-leak", "leak", true},
        Fault{"pinned-source", "pinned", true}, Fault{"pinned-destination", "pinned", true},
        Fault{"pinned-read", "pinned", true}, Fault{"kernel-freed", "use-after-free", true},
        Fault{"uninitialised", "uninitialised", true},
        Fault{"uninitialised-copied", "uninitialised", true}, Fault{"launch-limit", "launch", true},
        Fault{"missing-event", "", false}, Fault{"non-blocking", "", false},
        Fault{"freed-in-other-stream", "", false}),
    [](const auto& info) {
      std::string name = info.param.name;
      for (char& c : name) c = c == '-' ? '_' : c;
      return name;
    });

}  // namespace
}  // namespace softgpu
