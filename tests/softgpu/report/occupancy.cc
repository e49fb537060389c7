#include "tests/softgpu/report/occupancy.h"

#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

extern char** environ;

#include <vector>

namespace softgpu {
namespace {

uint32_t RoundUp(uint32_t value, uint32_t unit) { return (value + unit - 1) / unit * unit; }

// A file that is gone with this object.
class TemporaryFile {
 public:
  TemporaryFile() {
    const char* folder = std::getenv("TMPDIR");
    path_ = std::string(folder && *folder ? folder : "/tmp") + "/softgpu-XXXXXX";
    const int file = mkstemp(path_.data());
    if (file < 0) {
      path_.clear();
    } else {
      close(file);
    }
  }
  ~TemporaryFile() {
    if (!path_.empty()) unlink(path_.c_str());
  }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// Runs a program of the path, its output into a file. False: there is none, or it failed.
bool RunInto(const std::string& out, std::initializer_list<const char*> words) {
  std::vector<char*> arguments;
  for (const char* word : words) arguments.push_back(const_cast<char*>(word));
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), 1 /* O_WRONLY */, 0600);
  posix_spawn_file_actions_adddup2(&actions, STDOUT_FILENO, STDERR_FILENO);
  pid_t child = 0;
  const bool started =
      posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ) == 0;
  posix_spawn_file_actions_destroy(&actions);
  int status = 0;
  return started && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

}  // namespace

Occupancy OccupancyOf(int arch, uint32_t threads, uint32_t registers, uint32_t shared_bytes) {
  // A multiprocessor of sm_80 and sm_90; both give registers by 256 a warp, warps by 4, and take 1
  // KiB of shared memory a block for themselves.
  constexpr uint32_t kWarps = 64, kBlocks = 32, kRegisters = 65536;
  const uint32_t shared = (arch >= 90 ? 228 : 164) * 1024;
  const uint32_t warps = std::max(1u, (threads + 31) / 32);
  Occupancy o;
  o.blocks = kBlocks;
  o.limit = "blocks";
  const auto at_most = [&](uint32_t blocks, const char* what) {
    if (blocks >= o.blocks) return;
    o.blocks = blocks;
    o.limit = what;
  };
  at_most(kWarps / warps, "threads");
  if (registers) {
    const uint32_t of_warp = RoundUp(registers * 32, 256);
    at_most(kRegisters / of_warp / 4 * 4 / warps, "registers");
  }
  at_most(shared / (RoundUp(shared_bytes, 128) + 1024), "shared memory");
  o.warps = o.blocks * warps;
  o.share = static_cast<double>(o.warps) / kWarps;
  if (o.warps == kWarps) o.limit = "nothing";
  return o;
}

std::map<std::string, uint32_t> ParsePtxas(const std::string& output) {
  std::map<std::string, uint32_t> registers;
  std::istringstream lines(output);
  std::string kernel;
  for (std::string line; std::getline(lines, line);) {
    const std::string kCompiling = "Compiling entry function '", kUsed = "Used ";
    size_t at = line.find(kCompiling);
    if (at != std::string::npos) {
      at += kCompiling.size();
      kernel = line.substr(at, line.find('\'', at) - at);
      continue;
    }
    at = line.find(kUsed);
    if (at == std::string::npos || kernel.empty()) continue;
    const long count = std::strtol(line.c_str() + at + kUsed.size(), nullptr, 10);
    if (count > 0 && line.find(" registers", at) != std::string::npos) {
      registers[kernel] = static_cast<uint32_t>(count);
      kernel.clear();
    }
  }
  return registers;
}

std::map<std::string, uint32_t> RegistersOf(const std::string& ptx_text,
                                            const std::string& target) {
  const TemporaryFile ptx, output;
  if (ptx.path().empty() || output.path().empty()) return {};
  std::ofstream(ptx.path()) << ptx_text;
  const std::string arch = "-arch=" + target;
  if (!RunInto(output.path(),
               {"ptxas", "-v", arch.c_str(), "-o", "/dev/null", ptx.path().c_str()})) {
    return {};
  }
  std::ifstream file(output.path());
  std::stringstream text;
  text << file.rdbuf();
  return ParsePtxas(text.str());
}

}  // namespace softgpu
