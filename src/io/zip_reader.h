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

/// The records of a mapped zip archive. Throws Error if the archive is truncated or damaged, or if two records overlap:
/// a small file could then ask for any amount of reading.
class ZipReader {
 public:
  explicit ZipReader(const MappedFile& file);
  /// Null if there is no record of this name. Throws Error if its bytes are not stored as they are.
  const ZipRecord* find(const std::string& name) const;
  const std::unordered_map<std::string, ZipRecord>& records() const { return records_; }

 private:
  void require_disjoint() const;

  std::string where_;
  std::unordered_map<std::string, ZipRecord> records_;
};

}  // namespace minimind
