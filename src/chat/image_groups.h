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

struct ImageFolder {
  std::vector<ImageGroup> groups;
  std::vector<std::string> notes;  ///< names the entries that belong to no group
};

/// One group for each image of a folder, in name order. With `together`, one group for all images of each subfolder, or
/// of the folder itself if no subfolder holds an image. Hidden files, such as the `._` files of a Mac, are passed over.
/// Throws Error if the path is no folder or holds no image.
ImageFolder image_groups(const std::filesystem::path& folder, bool together);

}  // namespace minimind
