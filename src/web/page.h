#pragma once

#include <string_view>
#include <vector>

namespace minimind {

/// A file of src/web/page.
struct PageFile {
  std::string_view name;
  std::string_view bytes;
};

/// All files of the page. The build makes the source of this function: cmake/EmbedFiles.cmake.
const std::vector<PageFile>& page_files();

}  // namespace minimind
