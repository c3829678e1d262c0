#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/zip_directory.h"

namespace minimind::detail {

/// The files of a zip archive, found by their path or by the end of their path. Immutable after construction.
class ZipIndex {
 public:
  /// Throws Error that begins with `where` if the archive has no directory or a damaged one.
  ZipIndex(const ReadAt& read, uint64_t file_bytes, const std::string& where);

  /// The file of this path; null if there is none. Of several files of one path the last counts, as in unpacking.
  const ZipEntry* find_path(std::string_view path) const;
  /// The file whose path is `ending` or ends with `/` and `ending`; null unless there is exactly one such path.
  const ZipEntry* find_ending(std::string_view ending) const;
  /// Two different paths that find_ending() would have to choose from; nullopt if there are not two.
  std::optional<std::pair<std::string_view, std::string_view>> ambiguous_paths(std::string_view ending) const;
  bool has_folder(std::string_view folder) const;

 private:
  using Iterator = std::vector<ZipEntry>::const_iterator;
  /// Turns the names into UTF-8 with slashes.
  void read_names(const std::string& where);
  std::pair<Iterator, Iterator> range_ending(std::string_view ending) const;

  /// Sorted by their names read backwards, so that names with a common ending are neighbours. Names begin with `/`.
  std::vector<ZipEntry> entries_;
};

}  // namespace minimind::detail
