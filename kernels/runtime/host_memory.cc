#include "kernels/runtime/host_memory.h"

#include <malloc.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>

#include "kernels/runtime/check.h"
#include "kernels/runtime/cpus.h"

namespace lseg {
namespace {

// The number in a file of a control group; nothing where there is no file, or it says "max".
std::optional<int64_t> NumberIn(const std::string& path) {
  int64_t number = 0;
  if (!(std::ifstream(path) >> number)) return std::nullopt;
  return number;
}

// The number behind a name in a file of lines "name number ..."; 0 where it is not there.
int64_t NamedNumber(const std::string& path, const std::string& name) {
  std::ifstream file(path);
  for (std::string word; file >> word;) {
    int64_t number = 0;
    if (word == name && file >> number) return number;
    file.clear();
    file.ignore(std::numeric_limits<std::streamsize>::max(), '\n');
  }
  return 0;
}

// What a group's limit leaves; nothing where it has none. v2's names, then v1's.
std::optional<int64_t> LeftIn(const std::string& folder) {
  std::optional<int64_t> limit = NumberIn(folder + "/memory.max");
  std::optional<int64_t> used = NumberIn(folder + "/memory.current");
  std::string cache = "inactive_file";
  if (!used) {
    limit = NumberIn(folder + "/memory.limit_in_bytes");
    used = NumberIn(folder + "/memory.usage_in_bytes");
    cache = "total_inactive_file";
  }
  if (!limit || !used) return std::nullopt;
  const int64_t reclaimable = NamedNumber(folder + "/memory.stat", cache);
  return std::max<int64_t>(*limit - (*used - std::min(reclaimable, *used)), 0);
}

}  // namespace

int64_t ResidentMemory() {
  int64_t pages = 0, resident = 0;
  LSEG_CHECK(std::ifstream("/proc/self/statm") >> pages >> resident,
             "/proc/self/statm does not say how much memory this process has");
  return resident * sysconf(_SC_PAGESIZE);
}

int64_t PeakResidentMemory() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

void ReturnFreedMemory() {
#ifdef __GLIBC__
  malloc_trim(0);
#endif
}

int64_t AvailableMemory(const std::string& root) {
  const int64_t kilobytes = NamedNumber(root + "/proc/meminfo", "MemAvailable:");
  LSEG_CHECK(kilobytes > 0, root << "/proc/meminfo does not say how much memory is available");
  int64_t available = kilobytes * 1024;
  for (const std::string& folder : ControlGroupFolders("memory", root)) {
    if (const std::optional<int64_t> left = LeftIn(folder)) available = std::min(available, *left);
  }
  return available;
}

}  // namespace lseg
