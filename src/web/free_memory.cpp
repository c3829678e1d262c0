#include "web/free_memory.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <limits>
#include <new>
#include <sstream>
#include <string>
#include <string_view>

#include "base/cgroup.h"

namespace minimind {

namespace {

namespace fs = std::filesystem;

constexpr int64_t kNoLimit = std::numeric_limits<int64_t>::max();

/// The number in a file; `otherwise` if there is none, as in `max`.
int64_t number_in(const fs::path& file, int64_t otherwise) {
  std::ifstream stream(file);
  int64_t number = 0;
  return stream >> number ? number : otherwise;
}

/// The number behind a word of a file, such as `MemAvailable:`.
int64_t number_behind(const fs::path& file, std::string_view name, int64_t otherwise) {
  std::ifstream stream(file);
  for (std::string line; std::getline(stream, line);) {
    std::istringstream words(line);
    std::string word;
    int64_t number = 0;
    if (words >> word && word == name && words >> number) {
      return number;
    }
  }
  return otherwise;
}

/// How a version of cgroups names its files.
struct CgroupFiles {
  const char* limit;
  const char* used;
  std::array<const char*, 2> cached;  ///< of memory.stat
};
constexpr CgroupFiles kVersion1 = {
    "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_inactive_file", "total_active_file"}};
constexpr CgroupFiles kVersion2 = {"memory.max", "memory.current", {"inactive_file", "active_file"}};

int64_t free_of_group(const Cgroup& group) {
  const auto& [folder, is_v2] = group;
  const CgroupFiles& files = is_v2 ? kVersion2 : kVersion1;
  const int64_t limit = number_in(folder / files.limit, kNoLimit);
  if (limit >= kNoLimit / 2) {  // version 1 writes a huge number for no limit
    return kNoLimit;
  }
  int64_t used = number_in(folder / files.used, 0);
  for (const char* name : files.cached) {
    used -= number_behind(folder / "memory.stat", name, 0);
  }
  return limit - used;
}

int64_t free_of_cgroups(const fs::path& root) {
  int64_t least = kNoLimit;
  for (const Cgroup& group : cgroups_of("memory", root)) {
    least = std::min(least, free_of_group(group));
  }
  return least;
}

/// What a limit of this process leaves. `field`: of /proc/self/statm, in pages.
int64_t free_of_limit(decltype(RLIMIT_AS) resource, int field) {
  rlimit limit{};
  if (::getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) {
    return kNoLimit;
  }
  std::ifstream stream("/proc/self/statm");
  int64_t pages = 0;
  for (int i = 0; i <= field; ++i) {
    stream >> pages;
  }
  return static_cast<int64_t>(limit.rlim_cur) - pages * sysconf(_SC_PAGESIZE);
}

}  // namespace

int64_t free_memory(const fs::path& root) {
  constexpr int kVirtualSize = 0;
  constexpr int kDataSize = 5;
  const int64_t available = number_behind(root / "proc/meminfo", "MemAvailable:", kNoLimit >> 10) << 10;
  return std::max<int64_t>(0, std::min({available, free_of_cgroups(root), free_of_limit(RLIMIT_AS, kVirtualSize),
                                        free_of_limit(RLIMIT_DATA, kDataSize)}));
}

bool is_out_of_memory(const std::exception& error) {
  // LibTorch throws its general error; the words are those of its allocators.
  const std::string_view what = error.what();
  return dynamic_cast<const std::bad_alloc*>(&error) != nullptr || what.find("can't allocate memory") != what.npos ||
         what.find("out of memory") != what.npos || what.find("not enough memory") != what.npos;
}

}  // namespace minimind
