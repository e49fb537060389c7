// The host's memory: what this process has, and what it may still take before the system kills it.
#pragma once

#include <cstdint>
#include <string>

namespace lseg {

// Bytes of this process that lie in memory now, and the most that ever did (getrusage).
int64_t ResidentMemory();
int64_t PeakResidentMemory();

// Gives memory that was freed back to the system, as far as the C library has kept it for later.
void ReturnFreedMemory();

// Bytes that a process may take now: what the machine has available (MemAvailable), and no more
// than the limits of its control group and those above it leave, file caches not counted as used.
// `root` stands before /proc and mount points: tests have their own. An Error where /proc/meminfo
// does not say.
int64_t AvailableMemory(const std::string& root = "");

}  // namespace lseg
