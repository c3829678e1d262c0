#include "base/cpu_quota.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace minimind {

namespace {

using std::filesystem::path;

/// A hierarchy of cgroups in which quotas of CPU time may stand.
struct Hierarchy {
  bool is_v2 = false;
  std::string mount_root;   ///< the group that is mounted
  std::string mount_point;  ///< where it is mounted
};

bool lists(std::string_view names, std::string_view name) {
  for (size_t begin = 0; begin <= names.size();) {
    const size_t end = std::min(names.find(',', begin), names.size());
    if (names.substr(begin, end - begin) == name) {
      return true;
    }
    begin = end + 1;
  }
  return false;
}

/// Of /proc/self/mountinfo: `ID PARENT DEVICE ROOT POINT OPTIONS … - TYPE SOURCE OPTIONS`.
std::vector<Hierarchy> hierarchies(const path& mountinfo) {
  std::vector<Hierarchy> found;
  std::ifstream file(mountinfo);
  for (std::string line; std::getline(file, line);) {
    const size_t separator = line.find(" - ");
    if (separator == std::string::npos) {
      continue;
    }
    std::istringstream before(line.substr(0, separator)), after(line.substr(separator + 3));
    std::string skipped, type, options;
    Hierarchy hierarchy;
    before >> skipped >> skipped >> skipped >> hierarchy.mount_root >> hierarchy.mount_point;
    after >> type >> skipped >> options;
    hierarchy.is_v2 = type == "cgroup2";
    if (hierarchy.is_v2 || (type == "cgroup" && lists(options, "cpu"))) {
      found.push_back(hierarchy);
    }
  }
  return found;
}

/// The group of this process in a hierarchy, of /proc/self/cgroup: `ID:CONTROLLERS:GROUP`, without controllers in
/// version 2.
std::optional<std::string> own_group(const path& cgroup, bool is_v2) {
  std::ifstream file(cgroup);
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_v2 ? controllers.empty() : lists(controllers, "cpu")) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

/// The quota of one group.
std::optional<double> quota_of(const path& group, bool is_v2) {
  double quota = -1, period = 0;
  if (is_v2) {
    std::ifstream(group / "cpu.max") >> quota >> period;  // "max 100000" without a quota: no number
  } else {
    std::ifstream(group / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group / "cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? std::optional(quota / period) : std::nullopt;
}

/// A group's path below the mounted group. A container may see the name of its group, but not the group.
path below(const std::string& mount_root, const std::string& group) {
  const path relative = path(group).lexically_relative(mount_root);
  return relative.empty() || *relative.begin() == ".." ? path(".") : relative;
}

}  // namespace

int64_t usable_cpus() {
  // 8,192 CPUs: cpu_set_t alone ends at 1,024, and the kernel refuses a set that is too small for the machine.
  std::vector<cpu_set_t> set(8);
  const size_t bytes = set.size() * sizeof(cpu_set_t);
  if (sched_getaffinity(0, bytes, set.data()) != 0) {
    return 1;
  }
  return std::max<int64_t>(1, CPU_COUNT_S(bytes, set.data()));
}

std::optional<double> cpu_quota(const path& root) {
  std::optional<double> smallest;
  for (const Hierarchy& hierarchy : hierarchies(root / "proc/self/mountinfo")) {
    const std::optional<std::string> group = own_group(root / "proc/self/cgroup", hierarchy.is_v2);
    if (!group) {
      continue;
    }
    path folder = root / path(hierarchy.mount_point).relative_path();
    std::optional<double> quota = quota_of(folder, hierarchy.is_v2);
    const auto take = [&] { smallest = quota && (!smallest || *quota < *smallest) ? quota : smallest; };
    take();
    for (const path& part : below(hierarchy.mount_root, *group)) {
      folder /= part;
      quota = quota_of(folder, hierarchy.is_v2);
      take();
    }
  }
  return smallest;
}

int64_t threads_for(int64_t cpus, std::optional<double> quota) {
  if (!quota || *quota >= static_cast<double>(cpus)) {
    return std::max<int64_t>(1, cpus);
  }
  return std::max<int64_t>(1, std::llround(*quota));
}

int64_t default_threads() {
  return threads_for(usable_cpus(), cpu_quota());
}

int64_t threads_to_set(int64_t wanted) {
  if (wanted > 0) {
    return wanted;
  }
  return std::getenv("OMP_NUM_THREADS") != nullptr ? 0 : default_threads();
}

}  // namespace minimind
