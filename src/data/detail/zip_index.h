#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
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

/// The central directory of a zip (APPNOTE 6.3, zip64 included), read once and kept compactly: found by path or, where
/// that is unique, by file name alone. Immutable after construction.
class ZipIndex {
 public:
  /// Throws Error that names `where`, what was expected and what was found.
  ZipIndex(int descriptor, std::string where);

  const ZipEntry* find(std::string_view name) const;
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

  std::string where_;
  uint64_t file_size_ = 0;
  std::vector<ZipEntry> entries_;
  std::string names_;
  /// Open addressing, entry number + 1; a file name that occurs in several folders is marked in `by_file_name_`.
  std::vector<uint32_t> by_path_;
  std::vector<uint32_t> by_file_name_;
};

/// pread of exactly `size` bytes; throws Error that names `where`.
void read_exactly(int descriptor, void* out, size_t size, uint64_t offset, const std::string& where);

}  // namespace minimind::detail
