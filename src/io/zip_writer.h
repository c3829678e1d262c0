#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/base/file.h"

namespace minimind::detail {

/// Writes stored records into a zip archive as torch.save lays them out: the bytes of each record begin at a multiple
/// of 64, so that they can be used where they lie in a mapped file. The same input gives the same bytes. ZIP64 where a
/// number needs it.
class ZipWriter {
 public:
  explicit ZipWriter(AtomicFile& file) : file_(file) {}
  void add(const std::string& name, std::string_view bytes);
  /// Writes the directory; the caller commits the file.
  void finish();

 private:
  struct Entry {
    std::string name;
    uint64_t offset = 0;
    uint64_t size = 0;
    uint32_t crc = 0;
  };
  std::string central_entry(const Entry& entry) const;

  AtomicFile& file_;
  std::vector<Entry> entries_;
};

}  // namespace minimind::detail
