#include "io/zip_reader.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "base/zip_directory.h"
#include "minimind/base/error.h"

namespace minimind {

ZipReader::ZipReader(const MappedFile& file) : where_(file.path().string()) {
  const auto slice = [&](uint64_t offset, uint64_t size) {
    const std::string_view all = file.bytes();
    require(offset <= all.size() && size <= all.size() - offset, where_, ": damaged zip archive: expected ", size,
            " bytes at byte ", offset, ", found the end of the file at byte ", all.size(),
            "; the file is truncated or damaged, copy or download it again");
    return all.substr(offset, size);
  };
  const ReadAt read = [&slice](uint64_t offset, char* out, size_t size) { slice(offset, size).copy(out, size); };
  read_zip_directory(read, file.bytes().size(), where_, [&](ZipEntry&& entry) {
    const std::string where = concat(where_, ": damaged zip archive: record ", printable(entry.name));
    const bool is_stored = (entry.flags & 1U) == 0 && entry.method == 0;
    require(!is_stored || entry.size == entry.compressed_size, where, ": expected ", entry.size,
            " stored bytes, found ", entry.compressed_size, "; copy or download the file again");
    const ZipRecord record{slice(zip_data_offset(read, entry, where), entry.compressed_size), entry.crc, is_stored};
    const bool is_new = records_.emplace(std::move(entry.name), record).second;
    require(is_new, where, " is there twice; copy or download the file again");
  });
  require_disjoint();
}

const ZipRecord* ZipReader::find(const std::string& name) const {
  const auto found = records_.find(name);
  if (found == records_.end()) {
    return nullptr;
  }
  if (!found->second.is_stored) {
    fail(where_, ": record ", printable(name),
         ": expected stored bytes as torch.save writes them, found a compressed or encrypted record; save the weights "
         "again with torch.save");
  }
  return &found->second;
}

void ZipReader::require_disjoint() const {
  std::vector<std::pair<std::string_view, std::string_view>> spans;  // bytes and name
  for (const auto& [name, record] : records_) {
    spans.emplace_back(record.bytes, name);
  }
  std::ranges::sort(spans, {}, [](const auto& span) { return std::pair(span.first.data(), span.first.size()); });
  for (size_t i = 1; i < spans.size(); ++i) {
    const auto& [before, name_before] = spans[i - 1];
    if (spans[i].first.data() < before.data() + before.size()) {
      fail(where_, ": damaged zip archive: records ", printable(name_before), " and ", printable(spans[i].second),
           " overlap; copy or download the file again");
    }
  }
}

}  // namespace minimind
