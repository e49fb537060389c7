// Runs a program under softgpu-run and keeps what it printed.
#pragma once

#include <sys/wait.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <stdexcept>
#include <string>

namespace softgpu {

inline constexpr int kExitFindings = 86;
inline constexpr uint64_t kSeeds = 10;

struct Outcome {
  int code = -1;  // 256 + the signal that ended it
  std::string output;
};

inline Outcome RunCommand(const std::string& command) {
  FILE* pipe = popen(("(" + command + ") 2>&1").c_str(), "r");
  if (pipe == nullptr) throw std::runtime_error("cannot run " + command);
  Outcome outcome;
  std::array<char, 4096> buffer;
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe)) {
    outcome.output.append(buffer.data(), n);
  }
  const int status = pclose(pipe);
  outcome.code = WIFEXITED(status) ? WEXITSTATUS(status) : 256 + WTERMSIG(status);
  return outcome;
}

// `program`: one of tests/programs, with its arguments.
inline Outcome RunProgram(uint64_t seed, const std::string& flags, const std::string& program) {
  return RunCommand(std::string(SOFTGPU_RUN) + " --seed " + std::to_string(seed) + " " + flags +
                    " " + SOFTGPU_PROGRAMS_DIR + "/" + program);
}

}  // namespace softgpu
