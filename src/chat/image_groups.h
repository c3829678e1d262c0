#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace minimind {

/// Images that one question is about.
struct ImageGroup {
  std::string name;                 ///< file or folder name
  std::vector<std::string> images;  ///< paths, in name order
};

/// A folder's images by name, each by itself, in name order; with `together` those of each subfolder (of the folder
/// itself if no subfolder has any). Throws Error if it is no folder or has none.
std::vector<ImageGroup> image_groups(const std::filesystem::path& folder, bool together);

}  // namespace minimind
