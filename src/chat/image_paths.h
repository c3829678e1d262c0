#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace minimind {

/// A line split into the images that it names and the rest.
struct DroppedImages {
  std::vector<std::string> images;  ///< paths
  std::string text;
};

/// Finds the paths of existing image files in a line. Terminals and file managers quote dropped paths, escape blanks by
/// backslashes or write file:// URLs. The whole line may also be one path with blanks. Throws Error if the line names
/// an absolute path of an image that does not exist.
DroppedImages take_images_out(const std::string& line);

/// The words of a command's arguments, with quotes, backslashes and URLs as in take_images_out().
std::vector<std::string> split_words(const std::string& text);

/// The images of one question.
struct ImageGroup {
  std::string name;                 ///< file or folder name
  std::vector<std::string> images;  ///< paths, in name order
};

/// One group for each image of a folder, in name order. With `together`, one group for all images of each subfolder, or
/// of the folder itself if no subfolder holds an image. Throws Error if the path is no folder or holds no image.
std::vector<ImageGroup> image_groups(const std::filesystem::path& folder, bool together);

}  // namespace minimind
