#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

#include "minimind/base/file.h"

namespace minimind {

/// One file of a zip archive; `bytes` points into the mapping.
struct ZipRecord {
  std::string_view bytes;
  uint32_t crc = 0;
  bool is_stored = true;  ///< false: compressed or encrypted
};

/// The central directory of a mapped zip archive, ZIP64 included. Throws Error when the archive is truncated or
/// damaged.
class ZipReader {
 public:
  explicit ZipReader(const MappedFile& file);
  /// Null if there is none. Throws Error if its bytes are not stored as they are.
  const ZipRecord* find(const std::string& name) const;
  const std::unordered_map<std::string, ZipRecord>& records() const { return records_; }

 private:
  struct Directory {
    uint64_t offset = 0, size = 0, count = 0;
  };
  Directory find_directory() const;
  Directory find_directory64(size_t end_record) const;
  size_t read_entry(size_t at, size_t end);
  /// Overlapping records would let a small file ask for any amount of reading.
  void require_disjoint() const;
  std::string_view local_bytes(uint64_t header, uint64_t size, const std::string& name) const;
  /// A little-endian number of `width` bytes.
  uint64_t number(size_t at, size_t width) const;
  std::string_view slice(uint64_t offset, uint64_t size) const;

  std::string where_;
  std::string_view bytes_;
  std::unordered_map<std::string, ZipRecord> records_;
};

}  // namespace minimind
