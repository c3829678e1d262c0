#include "web/free_memory.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <new>
#include <stdexcept>
#include <string>

namespace minimind {
namespace {

namespace fs = std::filesystem;

/// A folder with files of /proc and /sys.
class FreeMemory : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = fs::temp_directory_path() / ("minimind_memory_" + std::to_string(getpid()));
    write("proc/meminfo", "MemTotal: 9000000 kB\nMemAvailable: 1000000 kB\n");
    write("proc/self/cgroup", "");
    write("proc/self/mountinfo",
          "31 23 0:27 / /sys/fs/cgroup ro - cgroup2 cgroup2 rw\n"
          "32 31 0:28 / /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& name, const std::string& text) const {
    fs::create_directories((root_ / name).parent_path());
    std::ofstream(root_ / name) << text;
  }

  fs::path root_;
};

TEST_F(FreeMemory, IsWhatTheMachineHasWithoutOtherLimits) {
  EXPECT_EQ(free_memory(root_), int64_t{1000000} << 10);
}

TEST_F(FreeMemory, IsBoundedByTheGroupsOfVersion2AndTheirParents) {
  write("proc/self/cgroup", "0::/a/b\n");
  write("sys/fs/cgroup/a/b/memory.max", "max\n");
  EXPECT_EQ(free_memory(root_), int64_t{1000000} << 10);
  write("sys/fs/cgroup/a/memory.max", "600000000\n");
  write("sys/fs/cgroup/a/memory.current", "250000000\n");
  write("sys/fs/cgroup/a/memory.stat", "anon 1\nactive_file 20000000\ninactive_file 30000000\nfile 70000000\n");
  EXPECT_EQ(free_memory(root_), 400000000);
}

TEST_F(FreeMemory, IsBoundedByTheGroupOfVersion1ThatAContainerSeesAsTheRoot) {
  write("proc/self/cgroup", "5:cpu,cpuacct:/x\n4:memory:/docker/123\n");
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(free_memory(root_), int64_t{1000000} << 10);
  write("sys/fs/cgroup/memory/memory.limit_in_bytes", "600000000\n");
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "500000000\n");
  write("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 100000000\n");
  EXPECT_EQ(free_memory(root_), 200000000);
  write("sys/fs/cgroup/memory/memory.usage_in_bytes", "900000000\n");
  EXPECT_EQ(free_memory(root_), 0);
}

TEST_F(FreeMemory, IsBoundedByUlimit) {
  const pid_t child = fork();
  if (child == 0) {
    std::ifstream statm("/proc/self/statm");
    rlim_t pages = 0;
    statm >> pages;
    const rlim_t room = rlim_t{100} << 20;
    const rlimit limit{pages * static_cast<rlim_t>(sysconf(_SC_PAGESIZE)) + room, RLIM_INFINITY};
    const bool is_set = setrlimit(RLIMIT_AS, &limit) == 0;
    const int64_t free = free_memory();
    _exit(is_set && free > 0 && free <= static_cast<int64_t>(room) ? 0 : 1);
  }
  int status = 0;
  waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
}

TEST(OutOfMemory, IsToldFromOtherErrors) {
  EXPECT_TRUE(is_out_of_memory(std::bad_alloc()));
  EXPECT_TRUE(is_out_of_memory(std::runtime_error("DefaultCPUAllocator: can't allocate memory: you tried 5 bytes")));
  EXPECT_TRUE(is_out_of_memory(std::runtime_error("CUDA out of memory. Tried to allocate 2.00 GiB")));
  EXPECT_FALSE(is_out_of_memory(std::runtime_error("the weights are damaged")));
}

}  // namespace
}  // namespace minimind
