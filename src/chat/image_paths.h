#pragma once

#include <string>
#include <vector>

namespace minimind {

/// A line split into the images that it names and the rest.
struct DroppedImages {
  std::vector<std::string> images;  ///< paths
  std::string text;
  std::vector<std::string> notes;  ///< of paths that stand in the text without a blank around, or that are not taken
};

/// Finds the paths of existing image files in a line: with or without blanks, quotes or brackets around, as terminals
/// and file managers write dropped paths (existing_file()). The whole line may also be one path with blanks. What looks
/// like an image's path or URL and is no file gets a note. Throws Error if it cannot be anything but the path of an
/// image.
DroppedImages take_images_out(const std::string& line);

/// The paths of a command's arguments. An argument that is no file's path stays as path_of_text() reads it.
std::vector<std::string> split_paths(const std::string& text);

}  // namespace minimind
