#include "base/cpu_quota.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <vector>

#include "base/cgroup.h"

namespace minimind {

namespace {

/// The quota of one group.
std::optional<double> quota_of(const Cgroup& group) {
  double quota = -1, period = 0;
  if (group.is_v2) {
    std::ifstream(group.folder / "cpu.max") >> quota >> period;  // "max 100000" without a quota: no number
  } else {
    std::ifstream(group.folder / "cpu.cfs_quota_us") >> quota;
    std::ifstream(group.folder / "cpu.cfs_period_us") >> period;
  }
  return quota > 0 && period > 0 ? std::optional(quota / period) : std::nullopt;
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

std::optional<double> cpu_quota(const std::filesystem::path& root) {
  std::optional<double> smallest;
  for (const Cgroup& group : cgroups_of("cpu", root)) {
    const std::optional<double> quota = quota_of(group);
    smallest = quota && (!smallest || *quota < *smallest) ? quota : smallest;
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
