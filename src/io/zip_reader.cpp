#include "io/zip_reader.h"

#include <algorithm>
#include <cstring>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr uint32_t kLocalHeader = 0x04034b50;
constexpr uint32_t kCentralHeader = 0x02014b50;
constexpr uint32_t kEndRecord = 0x06054b50;
constexpr uint32_t kEndRecord64 = 0x06064b50;
constexpr uint32_t kEndLocator64 = 0x07064b50;
constexpr uint64_t kInExtraField = 0xFFFFFFFF;
constexpr size_t kEndRecordSize = 22;
constexpr size_t kLocalSize = 30;
constexpr size_t kCentralSize = 46;

}  // namespace

ZipReader::ZipReader(const MappedFile& file) : where_(file.path().string()), bytes_(file.bytes()) {
  const Directory directory = find_directory();
  const size_t end = directory.offset + directory.size;
  size_t at = directory.offset;
  for (uint64_t i = 0; i < directory.count; ++i) {
    at = read_entry(at, end);
  }
  require_disjoint();
}

void ZipReader::require_disjoint() const {
  std::vector<std::pair<std::string_view, std::string_view>> spans;  // bytes and name
  for (const auto& [name, record] : records_) {
    spans.emplace_back(record.bytes, name);
  }
  std::ranges::sort(spans, {}, [](const auto& span) { return std::pair(span.first.data(), span.first.size()); });
  for (size_t i = 1; i < spans.size(); ++i) {
    const auto& [before, name_before] = spans[i - 1];
    require(spans[i].first.data() >= before.data() + before.size(), where_, ": damaged zip archive: records ",
            printable(name_before), " and ", printable(spans[i].second), " overlap; copy or download the file again");
  }
}

const ZipRecord* ZipReader::find(const std::string& name) const {
  const auto found = records_.find(name);
  if (found == records_.end()) {
    return nullptr;
  }
  require(found->second.is_stored, where_, ": record ", printable(name),
          ": expected stored bytes as torch.save writes them, found a compressed or encrypted record; save the weights "
          "again with torch.save");
  return &found->second;
}

std::string_view ZipReader::slice(uint64_t offset, uint64_t size) const {
  require(offset <= bytes_.size() && size <= bytes_.size() - offset, where_, ": damaged zip archive: expected ", size,
          " bytes at byte ", offset, ", found the end of the file at byte ", bytes_.size(),
          "; the file is truncated or damaged, copy or download it again");
  return bytes_.substr(offset, size);
}

uint64_t ZipReader::number(size_t at, size_t width) const {
  uint64_t value = 0;
  std::memcpy(&value, slice(at, width).data(), width);
  return value;
}

ZipReader::Directory ZipReader::find_directory() const {
  constexpr size_t kLongestComment = 0xFFFF;
  const size_t last = bytes_.size() < kEndRecordSize ? 0 : bytes_.size() - kEndRecordSize;
  const size_t first = last > kLongestComment ? last - kLongestComment : 0;
  for (size_t at = last + 1; at-- > first && bytes_.size() >= kEndRecordSize;) {
    if (number(at, 4) != kEndRecord || at + kEndRecordSize + number(at + 20, 2) != bytes_.size()) {
      continue;
    }
    Directory directory{number(at + 16, 4), number(at + 12, 4), number(at + 10, 2)};
    if (at >= 20 && number(at - 20, 4) == kEndLocator64) {
      directory = find_directory64(number(at - 20 + 8, 8));
    }
    slice(directory.offset, directory.size);
    return directory;
  }
  fail(where_, ": truncated file: expected a zip directory at the end, found none in ", bytes_.size(),
       " bytes; copy or download it again");
}

ZipReader::Directory ZipReader::find_directory64(size_t end_record) const {
  slice(end_record, 56);
  require(number(end_record, 4) == kEndRecord64, where_,
          ": damaged zip archive: expected the ZIP64 end record at byte ", end_record,
          ", found something else; copy or download the file again");
  return {number(end_record + 48, 8), number(end_record + 40, 8), number(end_record + 32, 8)};
}

size_t ZipReader::read_entry(size_t at, size_t end) {
  require(at + kCentralSize <= end && number(at, 4) == kCentralHeader, where_,
          ": damaged zip archive: expected a directory entry at byte ", at,
          ", found something else; copy or download the file again");
  const size_t name_size = number(at + 28, 2);
  const size_t extra_size = number(at + 30, 2);
  const size_t next = at + kCentralSize + name_size + extra_size + number(at + 32, 2);
  require(next <= end, where_, ": damaged zip archive: a directory entry at byte ", at,
          " passes the directory's end; copy or download the file again");
  const std::string name(slice(at + kCentralSize, name_size));
  const bool is_stored = (number(at + 8, 2) & 1) == 0 && number(at + 10, 2) == 0;
  uint64_t size = number(at + 24, 4);
  uint64_t stored_size = number(at + 20, 4);
  uint64_t header = number(at + 42, 4);
  const size_t extra_end = at + kCentralSize + name_size + extra_size;
  for (size_t extra = at + kCentralSize + name_size; extra + 4 <= extra_end;) {
    const size_t field_end = extra + 4 + number(extra + 2, 2);
    size_t field = extra + 4;
    if (number(extra, 2) == 1) {
      // The ZIP64 field holds, in this order, the numbers that did not fit.
      for (uint64_t* value : {&size, &stored_size, &header}) {
        if (*value == kInExtraField && field + 8 <= std::min(field_end, extra_end)) {
          *value = number(field, 8);
          field += 8;
        }
      }
    }
    extra = field_end;
  }
  require(!is_stored || size == stored_size, where_, ": damaged zip archive: record ", printable(name), ": expected ",
          size, " stored bytes, found ", stored_size, "; copy or download the file again");
  const bool is_new = records_
                          .emplace(name, ZipRecord{local_bytes(header, stored_size, name),
                                                   static_cast<uint32_t>(number(at + 16, 4)), is_stored})
                          .second;
  require(is_new, where_, ": damaged zip archive: record ", printable(name),
          " is there twice; copy or download the file again");
  return next;
}

std::string_view ZipReader::local_bytes(uint64_t header, uint64_t size, const std::string& name) const {
  slice(header, kLocalSize);
  require(number(header, 4) == kLocalHeader, where_, ": damaged zip archive: record ", printable(name),
          ": expected its header at byte ", header, ", found something else; copy or download the file again");
  return slice(header + kLocalSize + number(header + 26, 2) + number(header + 28, 2), size);
}

}  // namespace minimind
