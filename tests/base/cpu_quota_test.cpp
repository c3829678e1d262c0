#include "base/cpu_quota.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/temporary_folder.h"

namespace minimind {
namespace {

/// A folder with the files that a process of a Linux machine sees.
class Machine {
 public:
  Machine& with(const std::string& path, const std::string& text) {
    const std::filesystem::path file = folder_.path() / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text << "\n";
    return *this;
  }
  std::optional<double> quota() const { return cpu_quota(folder_.path()); }

 private:
  testing::TemporaryFolder folder_;
};

constexpr const char* kV2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate";
constexpr const char* kV1 = "31 23 0:27 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid - cgroup cgroup rw,cpu,cpuacct";

TEST(CpuQuota, IsTheSmallestOfTheOwnGroupAndItsParentsInVersion2) {
  Machine machine;
  machine.with("proc/self/mountinfo", kV2).with("proc/self/cgroup", "0::/user/job/step");
  EXPECT_EQ(machine.quota(), std::nullopt);
  machine.with("sys/fs/cgroup/user/job/step/cpu.max", "max 100000");
  EXPECT_EQ(machine.quota(), std::nullopt);
  machine.with("sys/fs/cgroup/user/job/step/cpu.max", "400000 100000");
  EXPECT_EQ(machine.quota(), 4.0);
  machine.with("sys/fs/cgroup/user/cpu.max", "75000 50000");
  EXPECT_EQ(machine.quota(), 1.5);
  machine.with("sys/fs/cgroup/other/cpu.max", "1000 100000");
  EXPECT_EQ(machine.quota(), 1.5);
}

TEST(CpuQuota, IsReadFromTheHierarchyOfTheCpuControllerInVersion1) {
  Machine machine;
  machine
      .with("proc/self/mountinfo",
            std::string("29 23 0:25 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n") + kV1)
      .with("proc/self/cgroup", "5:cpuset:/elsewhere\n4:cpu,cpuacct:/docker/abc\n0::/x")
      .with("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_period_us", "100000")
      .with("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "-1");
  EXPECT_EQ(machine.quota(), std::nullopt);
  machine.with("sys/fs/cgroup/cpu,cpuacct/docker/abc/cpu.cfs_quota_us", "250000");
  EXPECT_EQ(machine.quota(), 2.5);
  machine.with("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_quota_us", "50000")
      .with("sys/fs/cgroup/cpu,cpuacct/docker/cpu.cfs_period_us", "100000");
  EXPECT_EQ(machine.quota(), 0.5);
}

TEST(CpuQuota, IsThatOfTheMountedGroupInAContainer) {
  Machine mounted;
  mounted.with("proc/self/mountinfo", "31 23 0:27 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu")
      .with("proc/self/cgroup", "4:cpu:/docker/abc/worker")
      .with("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "300000")
      .with("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000")
      .with("sys/fs/cgroup/cpu/worker/cpu.cfs_quota_us", "200000")
      .with("sys/fs/cgroup/cpu/worker/cpu.cfs_period_us", "100000");
  EXPECT_EQ(mounted.quota(), 2.0);
  Machine outside;  // the group lies above the mounted one
  outside.with("proc/self/mountinfo", kV2)
      .with("proc/self/cgroup", "0::/../other")
      .with("sys/fs/cgroup/cpu.max", "300000 100000");
  EXPECT_EQ(outside.quota(), 3.0);
}

TEST(CpuQuota, IsAbsentWithoutProc) {
  EXPECT_EQ(Machine().quota(), std::nullopt);
}

TEST(CpuQuota, GivesTheNearestNumberOfThreads) {
  EXPECT_EQ(threads_for(8, std::nullopt), 8);
  EXPECT_EQ(threads_for(8, 16.0), 8);
  EXPECT_EQ(threads_for(8, 2.0), 2);
  EXPECT_EQ(threads_for(8, 1.5), 2);
  EXPECT_EQ(threads_for(8, 1.4), 1);
  EXPECT_EQ(threads_for(8, 0.2), 1);
}

TEST(CpuQuota, CountsTheCpusOfTheAffinity) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof(before), &before), 0);
  EXPECT_EQ(usable_cpus(), CPU_COUNT(&before));
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &before)) {
      CPU_SET(cpu, &one);
    }
  }
  ASSERT_EQ(sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(usable_cpus(), 1);
  EXPECT_EQ(default_threads(), 1);
  sched_setaffinity(0, sizeof(before), &before);
}

TEST(CpuQuota, LetsTheUserChooseTheThreads) {
  const char* const before = std::getenv("OMP_NUM_THREADS");
  const std::string kept = before == nullptr ? "" : before;
  ::setenv("OMP_NUM_THREADS", "3", 1);
  EXPECT_EQ(threads_to_set(0), 0);
  EXPECT_EQ(threads_to_set(5), 5);
  ::unsetenv("OMP_NUM_THREADS");
  EXPECT_EQ(threads_to_set(0), default_threads());
  EXPECT_EQ(threads_to_set(5), 5);
  if (before != nullptr) {
    ::setenv("OMP_NUM_THREADS", kept.c_str(), 1);
  }
}

}  // namespace
}  // namespace minimind
