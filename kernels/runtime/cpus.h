// How many threads a process is to use: what it may run on, not what the machine has. In a
// container the two differ, and threads beyond the quota only wait for one another.
#pragma once

#include <string>
#include <vector>

namespace lseg {

// The processors of the affinity mask, but no more than the CPU quota of the process' control group
// and of those above it, rounded up; at least 1.
int UsableCpus();

// The number in OMP_NUM_THREADS, by which users and batch systems say it for all programs, else
// UsableCpus().
int DefaultThreads();

// What DefaultThreads makes of the variable's text (null: not set) and the processors: its first
// number, if it is one above 0.
int ThreadsByEnvironment(const char* omp_num_threads, int usable_cpus);

// Processors that the quota of the process' control group and those above it leave, which may be a
// fraction; infinity where there is no quota, or it cannot be read. `root` stands before
// /proc/self and mount points: tests have their own.
double CpuQuota(const std::string& root = "");

// The folders of the process' control group and those above it, innermost first, of a controller
// ("cpu", "memory"): of cgroup v2 and of v1, which may be mounted side by side. Empty where there
// are none.
std::vector<std::string> ControlGroupFolders(const std::string& controller,
                                             const std::string& root = "");

}  // namespace lseg
