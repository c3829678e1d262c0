#pragma once

#include <filesystem>
#include <string_view>
#include <vector>

namespace minimind {

/// A folder in which the kernel writes the limits of a cgroup.
struct Cgroup {
  std::filesystem::path folder;
  bool is_v2 = false;  ///< version 2 of cgroups, whose files have other names
};

/// The cgroup of this process and all groups above it that are visible, in the hierarchy of version 2 and in the one of
/// version 1 that has the controller (cpu, memory). `root` is the folder that holds proc; mount points are sought in it
/// too. Empty where there are no cgroups.
std::vector<Cgroup> cgroups_of(std::string_view controller, const std::filesystem::path& root = "/");

}  // namespace minimind
