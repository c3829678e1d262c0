#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace minimind {

/// The images of one question.
struct ImageGroup {
  std::string name;                 ///< file or folder name
  std::vector<std::string> images;  ///< paths, in name order
};

/// One group for each image of a folder, in name order. With `together`, one group for all images of each subfolder, or
/// of the folder itself if no subfolder holds an image. Throws Error if the path is no folder or holds no image.
std::vector<ImageGroup> image_groups(const std::filesystem::path& folder, bool together);

}  // namespace minimind
