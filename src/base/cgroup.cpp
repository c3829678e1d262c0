#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

namespace minimind {

namespace {

using std::filesystem::path;

/// A hierarchy of cgroups with the limits of a controller.
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
std::vector<Hierarchy> hierarchies(const path& mountinfo, std::string_view controller) {
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
    if (hierarchy.is_v2 || (type == "cgroup" && lists(options, controller))) {
      found.push_back(hierarchy);
    }
  }
  return found;
}

/// The group of this process in a hierarchy, of /proc/self/cgroup: `ID:CONTROLLERS:GROUP`, without controllers in
/// version 2.
std::optional<std::string> own_group(const path& cgroup, bool is_v2, std::string_view controller) {
  std::ifstream file(cgroup);
  for (std::string line; std::getline(file, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) {
      continue;
    }
    const std::string controllers = line.substr(first + 1, second - first - 1);
    if (is_v2 ? controllers.empty() : lists(controllers, controller)) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

/// A group's path below the mounted group. A container may see the name of its group, but not the group.
path below(const std::string& mount_root, const std::string& group) {
  const path relative = path(group).lexically_relative(mount_root);
  return relative.empty() || *relative.begin() == ".." ? path(".") : relative;
}

}  // namespace

std::vector<Cgroup> cgroups_of(std::string_view controller, const path& root) {
  std::vector<Cgroup> groups;
  for (const Hierarchy& hierarchy : hierarchies(root / "proc/self/mountinfo", controller)) {
    const std::optional<std::string> group = own_group(root / "proc/self/cgroup", hierarchy.is_v2, controller);
    if (!group) {
      continue;
    }
    path folder = root / path(hierarchy.mount_point).relative_path();
    groups.push_back({folder, hierarchy.is_v2});
    for (const path& part : below(hierarchy.mount_root, *group)) {
      folder /= part;
      groups.push_back({folder, hierarchy.is_v2});
    }
  }
  return groups;
}

}  // namespace minimind
