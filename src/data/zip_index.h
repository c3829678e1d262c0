#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace minimind::detail {

/// One file of a zip, as its central directory tells.
struct ZipEntry {
  uint64_t header_offset = 0;
  uint64_t stored_size = 0;
  uint64_t size = 0;
  uint64_t name_offset = 0;
  uint32_t name_size = 0;
  uint32_t crc = 0;
  uint16_t method = 0;
  uint16_t flags = 0;
};

/// The central directory of a zip (APPNOTE 6.3, zip64 included), read once and kept compactly. Immutable after
/// construction.
class ZipIndex {
 public:
  /// Throws Error that names `where`, what was expected and what was found.
  ZipIndex(int descriptor, std::string where);

  /// The entry of this path; null if there is none.
  const ZipEntry* find_path(std::string_view path) const;
  /// The one entry whose path ends with `/` and `ending` (several parts or a file name alone); null if there is none,
  /// or more than one.
  const ZipEntry* find_ending(std::string_view ending) const;
  /// Two different paths that end so, if there are two.
  std::optional<std::pair<std::string_view, std::string_view>> paths_ending(std::string_view ending) const;
  bool has_folder(std::string_view folder) const;
  std::string_view name(const ZipEntry& entry) const { return {names_.data() + entry.name_offset, entry.name_size}; }
  size_t size() const { return entries_.size(); }
  uint64_t file_size() const { return file_size_; }

 private:
  struct Directory {
    uint64_t offset = 0;
    uint64_t size = 0;
    uint64_t entries = 0;
  };
  Directory find_directory(int descriptor) const;
  Directory read_zip64_end(int descriptor, uint64_t end_offset, Directory directory) const;
  void read_directory(std::string_view bytes, uint64_t entry_count);
  void build_tables();
  using Numbers = std::vector<uint32_t>;
  std::pair<Numbers::const_iterator, Numbers::const_iterator> range_ending(std::string_view ending) const;

  std::string where_;
  uint64_t file_size_ = 0;
  std::vector<ZipEntry> entries_;
  std::string names_;
  /// Open addressing, entry number + 1.
  Numbers by_path_;
  /// Entry numbers, sorted by the path read backwards: paths of one ending are neighbours.
  Numbers by_ending_;
};

/// pread of exactly `size` bytes; throws Error that names `where`.
void read_exactly(int descriptor, void* out, size_t size, uint64_t offset, const std::string& where);

}  // namespace minimind::detail
