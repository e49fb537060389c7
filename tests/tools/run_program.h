// Runs a program as a user would, without a shell: exit code, standard output, standard error.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "kernels/runtime/check.h"

namespace lseg {

struct ProgramResult {
  int code = -1;  // 128 + signal where it was killed
  std::string out, err;
  int64_t peak_bytes = 0;  // the most that it had in memory
};

// arguments[0] is the program's path. Its output goes to <scratch>.out and <scratch>.err.
inline pid_t StartProgram(const std::vector<std::string>& arguments, const std::string& scratch) {
  const pid_t child = fork();
  LSEG_CHECK(child >= 0, "cannot fork");
  if (child != 0) return child;
  for (auto [descriptor, end] : {std::pair{STDOUT_FILENO, ".out"}, {STDERR_FILENO, ".err"}}) {
    const int file = open((scratch + end).c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (file < 0 || dup2(file, descriptor) < 0) _exit(126);
  }
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  execv(argv[0], argv.data());
  _exit(127);
}

inline ProgramResult WaitForProgram(pid_t child, const std::string& scratch) {
  int status = 0;
  rusage usage = {};
  LSEG_CHECK(wait4(child, &status, 0, &usage) == child, "cannot wait for a program");
  const auto text = [&](const char* end) {
    std::ostringstream stream;
    stream << std::ifstream(scratch + end).rdbuf();
    return stream.str();
  };
  return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), text(".out"),
          text(".err"), int64_t{usage.ru_maxrss} * 1024};
}

// What a program said on stderr, but for lseg_infer's doubts about photographs of noise.
inline std::string WithoutDoubts(const std::string& err) {
  std::istringstream lines(err);
  std::string rest;
  for (std::string line; std::getline(lines, line);) {
    if (line.find("looks like no fundus photograph") == std::string::npos) rest += line + "\n";
  }
  return rest;
}

// `scratch` is the path of two files that are made for the program's output and left behind.
inline ProgramResult RunProgram(const std::vector<std::string>& arguments,
                                const std::string& scratch) {
  return WaitForProgram(StartProgram(arguments, scratch), scratch);
}

// The same, but the program is sent a signal as soon as `ready`, or has ended by itself before.
inline ProgramResult InterruptProgram(const std::vector<std::string>& arguments,
                                      const std::string& scratch, int signal,
                                      const std::function<bool()>& ready) {
  const pid_t child = StartProgram(arguments, scratch);
  siginfo_t ended = {};
  while (!ready() &&
         waitid(P_PID, static_cast<id_t>(child), &ended, WEXITED | WNOHANG | WNOWAIT) == 0 &&
         ended.si_pid == 0) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  kill(child, signal);
  return WaitForProgram(child, scratch);
}

}  // namespace lseg
