#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace minimind {

/// The number of CPUs on which this process may run (its affinity), at least 1.
int64_t usable_cpus();

/// Seconds of CPU time that this process may use in a second: the smallest quota of its cgroup and of all groups above
/// it, version 1 (cpu.cfs_quota_us, cpu.cfs_period_us) or 2 (cpu.max). Nothing without a quota. `root` is the folder
/// that holds proc; mount points are sought in it too.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// Threads for `cpus` CPUs and a quota: one for each CPU, but not more than the quota, rounded to the nearest number,
/// at least 1.
int64_t threads_for(int64_t cpus, std::optional<double> quota);

/// threads_for() this process and this machine.
int64_t default_threads();

/// The number of threads to set: `wanted` if it is positive, else default_threads(). 0 if the environment variable
/// OMP_NUM_THREADS has chosen already.
int64_t threads_to_set(int64_t wanted);

}  // namespace minimind
