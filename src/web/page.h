#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace minimind::detail {

/// A file of src/web/page, as it was when the program was built.
struct PageFile {
  std::string_view name;
  std::string_view bytes;
};

/// All of them; made by cmake/EmbedFiles.cmake.
const std::vector<PageFile>& page_files();

}  // namespace minimind::detail
