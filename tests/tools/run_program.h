// Runs a program as a user would, without a shell: exit code, standard output, standard error.
#pragma once

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/runtime/check.h"

namespace lseg {

struct ProgramResult {
  int code = -1;  // 128 + signal where it was killed
  std::string out, err;
  int64_t peak_bytes = 0;  // the most that it had in memory
};

// arguments[0] is the program's path. `scratch` is the path of two files that are made for its
// output and left behind: <scratch>.out and <scratch>.err.
inline ProgramResult RunProgram(const std::vector<std::string>& arguments,
                                const std::string& scratch) {
  const pid_t child = fork();
  LSEG_CHECK(child >= 0, "cannot fork");
  if (child == 0) {
    for (auto [descriptor, end] : {std::pair{STDOUT_FILENO, ".out"}, {STDERR_FILENO, ".err"}}) {
      const int file = open((scratch + end).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
      if (file < 0 || dup2(file, descriptor) < 0) _exit(126);
    }
    std::vector<char*> argv;
    for (const std::string& argument : arguments)
      argv.push_back(const_cast<char*>(argument.c_str()));
    argv.push_back(nullptr);
    execv(argv[0], argv.data());
    _exit(127);
  }
  int status = 0;
  rusage usage = {};
  LSEG_CHECK(wait4(child, &status, 0, &usage) == child, "cannot wait for " << arguments[0]);
  const auto text = [&](const char* end) {
    std::ostringstream stream;
    stream << std::ifstream(scratch + end).rdbuf();
    return stream.str();
  };
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text(".out"),
          text(".err"), int64_t{usage.ru_maxrss} * 1024};
}

}  // namespace lseg
