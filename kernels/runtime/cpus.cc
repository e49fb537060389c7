// Control groups as cgroups(7) and proc(5) describe them: /proc/self/cgroup says which group, as a
// path in a hierarchy, /proc/self/mountinfo where that hierarchy is to be seen, and which part of
// it.
#include "kernels/runtime/cpus.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <sstream>
#include <thread>

namespace lseg {
namespace {

// Whether `word` stands between commas in `list`.
bool Lists(const std::string& list, const std::string& word) {
  std::istringstream stream(list);
  for (std::string entry; std::getline(stream, entry, ',');) {
    if (entry == word) return true;
  }
  return false;
}

// Of the hierarchy that has the controller in v1, or of v2's only one; "" where there is none.
std::string GroupPath(const std::string& controller, bool v2, const std::string& root) {
  std::ifstream file(root +
                     "/proc/self/cgroup");  // lines "4:memory:/docker/1f3a", "0::/user.slice"
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (v2 ? controllers.empty() : Lists(controllers, controller)) return line.substr(second + 1);
  }
  return "";
}

// Adds folders from the group's up to the mount point. What lies outside of the mounted part, as in
// containers with names of their own, is seen from the mount point only.
void AddFolders(std::string group, const std::string& mounted, const std::string& mount_point,
                std::vector<std::string>* folders) {
  if (mounted != "/") {
    const bool below = group.rfind(mounted, 0) == 0 &&
                       (group.size() == mounted.size() || group[mounted.size()] == '/');
    group = below ? group.substr(mounted.size()) : "";
  }
  if (group.find("..") != std::string::npos) group.clear();
  while (group.size() > 1) {
    folders->push_back(mount_point + group);
    group.resize(group.rfind('/'));
  }
  folders->push_back(mount_point);
}

// cpu.max of v2 holds "quota period" or "max period"; v1 has a file each, and -1 for no quota.
double QuotaOf(const std::string& folder) {
  double quota = -1, period = 0;
  if (!(std::ifstream(folder + "/cpu.max") >> quota >> period)) {
    std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
    std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? quota / period : std::numeric_limits<double>::infinity();
}

}  // namespace

std::vector<std::string> ControlGroupFolders(const std::string& controller,
                                             const std::string& root) {
  std::vector<std::string> folders;
  // "36 25 0:28 /docker/1f3a /sys/fs/cgroup/memory rw shared:1 - cgroup cgroup rw,memory"
  std::ifstream file(root + "/proc/self/mountinfo");
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string word, mounted, mount_point, type, source, options;
    words >> word >> word >> word >> mounted >> mount_point;
    while (words >> word && word != "-") {
    }
    words >> type >> source >> options;
    const bool v2 = type == "cgroup2";
    if (!v2 && !(type == "cgroup" && Lists(options, controller))) continue;
    const std::string group = GroupPath(controller, v2, root);
    if (!group.empty()) AddFolders(group, mounted, root + mount_point, &folders);
  }
  return folders;
}

double CpuQuota(const std::string& root) {
  double cpus = std::numeric_limits<double>::infinity();
  for (const std::string& folder : ControlGroupFolders("cpu", root)) {
    cpus = std::min(cpus, QuotaOf(folder));
  }
  return cpus;
}

int UsableCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  // Fails on machines with more processors than the set holds.
  const int allowed = sched_getaffinity(0, sizeof(set), &set) == 0
                          ? CPU_COUNT(&set)
                          : static_cast<int>(std::thread::hardware_concurrency());
  const double quota = std::ceil(CpuQuota());
  return std::max(1, quota < allowed ? static_cast<int>(quota) : allowed);
}

int ThreadsByEnvironment(const char* omp_num_threads, int usable_cpus) {
  constexpr long kMost = 1024;
  const long threads = omp_num_threads != nullptr ? std::strtol(omp_num_threads, nullptr, 10) : 0;
  return threads > 0 ? static_cast<int>(std::min(threads, kMost)) : usable_cpus;
}

int DefaultThreads() { return ThreadsByEnvironment(std::getenv("OMP_NUM_THREADS"), UsableCpus()); }

}  // namespace lseg
