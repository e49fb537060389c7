// How many processors may be used, by control groups as systems and containers show them.
#include "kernels/runtime/cpus.h"

#include <gtest/gtest.h>
#include <omp.h>

#include <cmath>
#include <limits>

#include "kernels/runtime/context.h"
#include "tests/lseg/temp_folder.h"

namespace lseg {
namespace {

constexpr double kNone = std::numeric_limits<double>::infinity();
constexpr char kMountV2[] =
    "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n";

TEST(CpuQuota, OfGroupVersion2IsTheSmallestUpToTheMountPoint) {
  const TempFolder root;
  const std::string group = "sys/fs/cgroup/kube/pod1/";
  root.Write("proc/self/mountinfo", "23 1 8:1 / / rw - ext4 /dev/sda rw\n" + std::string(kMountV2));
  root.Write("proc/self/cgroup", "0::/kube/pod1\n");
  EXPECT_EQ(CpuQuota(root.Path("")), kNone);  // no file at all
  root.Write(group + "cpu.max", "max 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), kNone);
  root.Write(group + "cpu.max", "150000 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 1.5);
  root.Write("sys/fs/cgroup/kube/cpu.max", "400000 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 1.5);
  root.Write("sys/fs/cgroup/kube/cpu.max", "25000 50000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 0.5);
}

// In a container whose group has a name space of its own the path is /.
TEST(CpuQuota, OfAContainerStandsAtTheMountPoint) {
  const TempFolder root;
  root.Write("proc/self/mountinfo", kMountV2);
  root.Write("proc/self/cgroup", "0::/\n");
  root.Write("sys/fs/cgroup/cpu.max", "300000 100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 3);
  root.Write("proc/self/cgroup", "0::/../other\n");  // moved out of what is seen
  EXPECT_EQ(CpuQuota(root.Path("")), 3);
}

// Version 1 as Docker mounts it: the container's own group is the root of what is mounted, while
// the path names it as the host does.
TEST(CpuQuota, OfGroupVersion1) {
  const TempFolder root;
  root.Write(
      "proc/self/mountinfo",
      "41 31 0:29 /docker/1f3a /sys/fs/cgroup/cpu,cpuacct ro - cgroup cgroup rw,cpu,cpuacct\n"
      "42 31 0:30 /docker/1f3a /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  root.Write("proc/self/cgroup", "4:cpu,cpuacct:/docker/1f3a\n2:memory:/docker/1f3a\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  root.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), kNone);
  root.Write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "250000\n");
  EXPECT_EQ(CpuQuota(root.Path("")), 2.5);
}

TEST(ControlGroupFolders, OfBothVersionsSideBySide) {
  const TempFolder root;
  root.Write("proc/self/mountinfo",
             "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n"
             "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
             "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n");
  root.Write("proc/self/cgroup", "9:name=systemd:/\n4:memory:/a/b\n1:cpu:/\n0::/c\n");
  const auto under = [&](const std::vector<std::string>& names) {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back(root.Path("") + "/sys/fs/cgroup/" + name);
    return paths;
  };
  EXPECT_EQ(ControlGroupFolders("cpu", root.Path("")), under({"cpu", "unified/c", "unified"}));
  EXPECT_EQ(ControlGroupFolders("memory", root.Path("")),
            under({"unified/c", "unified", "memory/a/b", "memory/a", "memory"}));
}

TEST(CpuQuota, IsNoneWhereNothingCanBeRead) {
  const TempFolder root;
  EXPECT_EQ(CpuQuota(root.Path("")), kNone);
  root.Write("proc/self/mountinfo", "nonsense\n30 23\n" + std::string(kMountV2));
  root.Write("proc/self/cgroup", "nonsense\n::\n0::/a\n");
  root.Write("sys/fs/cgroup/a/cpu.max", "lots\n");
  EXPECT_EQ(CpuQuota(root.Path("")), kNone);
  root.Write("sys/fs/cgroup/a/cpu.max", "100000 0\n");
  EXPECT_EQ(CpuQuota(root.Path("")), kNone);
}

TEST(ThreadsByEnvironment, IsItsFirstNumber) {
  EXPECT_EQ(ThreadsByEnvironment(nullptr, 6), 6);
  EXPECT_EQ(ThreadsByEnvironment("", 6), 6);
  EXPECT_EQ(ThreadsByEnvironment("3", 6), 3);
  EXPECT_EQ(ThreadsByEnvironment("4,2", 6), 4);
  EXPECT_EQ(ThreadsByEnvironment("0", 6), 6);
  EXPECT_EQ(ThreadsByEnvironment("-2", 6), 6);
  EXPECT_EQ(ThreadsByEnvironment("many", 6), 6);
}

// What a context says is what OpenMP's loops of this thread get.
TEST(Context, SetsTheThreadsOfItsThread) {
  EXPECT_GE(UsableCpus(), 1);
  EXPECT_LE(UsableCpus(), omp_get_num_procs());
  for (const int threads : {1, 3}) {
    const Context context(Device::kCpu, threads);
    int there = 0;
#pragma omp parallel reduction(+ : there)
    there += 1;
    EXPECT_EQ(there, threads);
  }
  EXPECT_EQ(Context().threads(), DefaultThreads());
}

}  // namespace
}  // namespace lseg
