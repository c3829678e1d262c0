#include "base/zip_directory.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <utility>

#include "base/bytes.h"
#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr uint32_t kEndSignature = 0x06054B50;
constexpr uint32_t kZip64EndSignature = 0x06064B50;
constexpr uint32_t kZip64LocatorSignature = 0x07064B50;
constexpr uint32_t kEntrySignature = 0x02014B50;
constexpr uint32_t kLocalSignature = 0x04034B50;
constexpr size_t kEndSize = 22;
constexpr size_t kZip64EndSize = 56;
constexpr size_t kZip64LocatorSize = 20;
constexpr size_t kEntrySize = 46;
constexpr size_t kLocalSize = 30;
constexpr size_t kMaxComment = 65535;
constexpr uint16_t kZip64Extra = 1;
constexpr uint16_t kUnicodePathExtra = 0x7075;
constexpr uint64_t kMaxDirectory = uint64_t{1} << 30U;
constexpr const char* kCure = "; the file is truncated or damaged, copy or download it again";

constexpr auto u16 = read_little_endian<uint16_t>;
constexpr auto u32 = read_little_endian<uint32_t>;
constexpr auto u64 = read_little_endian<uint64_t>;

struct Directory {
  uint64_t offset = 0;
  uint64_t size = 0;
  uint64_t entries = 0;
  uint64_t end = 0;  ///< where the bytes behind the directory begin
  /// Bytes in front of the archive, which its offsets do not count: a program that unpacks it.
  uint64_t program_bytes = 0;
};

std::string read_bytes(const ReadAt& read, uint64_t offset, size_t size) {
  std::string bytes(size, '\0');
  read(offset, bytes.data(), size);
  return bytes;
}

// Replaces the directory by the one of the ZIP64 end record, if there is such a record.
Directory read_zip64_end(const ReadAt& read, uint64_t file_bytes, const std::string& where, uint64_t end_offset,
                         const Directory& directory) {
  if (end_offset < kZip64LocatorSize) {
    return directory;
  }
  const std::string locator = read_bytes(read, end_offset - kZip64LocatorSize, kZip64LocatorSize);
  if (u32(locator, 0) != kZip64LocatorSignature) {
    return directory;
  }
  uint64_t offset = u64(locator, 8);
  const uint64_t before = end_offset - kZip64LocatorSize;
  if (before >= kZip64EndSize && u32(read_bytes(read, before - kZip64EndSize, 4), 0) == kZip64EndSignature) {
    offset = before - kZip64EndSize;  // its usual place, whatever stands in front of the archive
  }
  require(offset < file_bytes && file_bytes - offset >= kZip64EndSize, where,
          ": expected the ZIP64 end record inside the file of ", file_bytes, " bytes, found it at byte ", offset,
          kCure);
  const std::string record = read_bytes(read, offset, kZip64EndSize);
  require(u32(record, 0) == kZip64EndSignature, where, ": expected the ZIP64 end record at byte ", offset,
          ", found other bytes", kCure);
  return {u64(record, 48), u64(record, 40), u64(record, 32), offset};
}

// Finds the directory of an archive behind a program that unpacks it: it ends where the end record begins.
Directory behind_program(const ReadAt& read, Directory directory) {
  if (directory.size < kEntrySize || directory.size > directory.end ||
      directory.offset >= directory.end - directory.size) {
    return directory;
  }
  const uint64_t place = directory.end - directory.size;
  if (u32(read_bytes(read, place, 4), 0) == kEntrySignature) {
    directory.program_bytes = place - directory.offset;
    directory.offset = place;
  }
  return directory;
}

Directory find_directory(const ReadAt& read, uint64_t file_bytes, const std::string& where) {
  const size_t tail_size = std::min<uint64_t>(file_bytes, kEndSize + kMaxComment);
  const uint64_t tail_offset = file_bytes - tail_size;
  const std::string tail = read_bytes(read, tail_offset, tail_size);
  for (size_t at = tail_size < kEndSize ? 0 : tail_size - kEndSize + 1; at-- > 0;) {
    if (u32(tail, at) != kEndSignature || u16(tail, at + 20) > tail_size - at - kEndSize) {
      continue;
    }
    require(u16(tail, at + 4) == u16(tail, at + 6), where,
            ": expected a zip archive in one file, found a part of a split archive");
    return read_zip64_end(read, file_bytes, where, tail_offset + at,
                          {u32(tail, at + 16), u32(tail, at + 12), u16(tail, at + 10), tail_offset + at});
  }
  fail(where, ": expected a zip archive, found no directory in the last ", tail_size, " bytes", kCure);
}

// The name in the Unicode Path field, which writers add if the name is not in UTF-8; empty if there is none, or one of
// another name.
std::string unicode_path(std::string_view extra, std::string_view name) {
  constexpr size_t kHead = 5;  // a version and the checksum of the name
  for (size_t size = 0; extra.size() >= 4; extra.remove_prefix(4 + size)) {
    size = u16(extra, 2);
    if (size > extra.size() - 4) {
      break;
    }
    const std::string_view field = extra.substr(4, size);
    if (u16(extra, 0) == kUnicodePathExtra && size > kHead && field[0] == 1 &&
        u32(field, 1) == ::crc32_z(0, reinterpret_cast<const Bytef*>(name.data()), name.size())) {
      return std::string(field.substr(kHead));
    }
  }
  return "";
}

// The ZIP64 extra field holds, in this order, each number that is 0xFFFFFFFF in the entry. Returns false if the field
// is damaged.
bool read_zip64_extra(std::string_view extra, ZipEntry& entry) {
  std::array<uint64_t*, 3> numbers = {&entry.size, &entry.compressed_size, &entry.header_offset};
  const auto missing_end =
      std::remove_if(numbers.begin(), numbers.end(), [](const uint64_t* number) { return *number != UINT32_MAX; });
  if (missing_end == numbers.begin()) {
    return true;
  }
  while (extra.size() >= 4) {
    const uint16_t id = u16(extra, 0);
    const size_t size = u16(extra, 2);
    if (size > extra.size() - 4) {
      return false;
    }
    if (id == kZip64Extra) {
      const size_t needed = sizeof(uint64_t) * static_cast<size_t>(missing_end - numbers.begin());
      for (size_t at = 0; at < needed && needed <= size; at += sizeof(uint64_t)) {
        *numbers[at / sizeof(uint64_t)] = u64(extra, 4 + at);
      }
      return needed <= size;
    }
    extra.remove_prefix(4 + size);
  }
  return false;
}

}  // namespace

void read_zip_directory(const ReadAt& read, uint64_t file_bytes, const std::string& where,
                        const std::function<void(ZipEntry&&)>& on_entry) {
  const Directory directory = behind_program(read, find_directory(read, file_bytes, where));
  require(directory.offset <= file_bytes && directory.size <= file_bytes - directory.offset, where,
          ": expected the zip directory inside the file of ", file_bytes, " bytes, found it at byte ", directory.offset,
          " with ", directory.size, " bytes", kCure);
  require(directory.size <= kMaxDirectory, where, ": expected a zip directory of at most ", kMaxDirectory,
          " bytes, found one of ", directory.size);
  const std::string all = read_bytes(read, directory.offset, directory.size);
  std::string_view bytes = all;
  uint64_t count = 0;
  for (; !bytes.empty(); ++count) {
    require(bytes.size() >= kEntrySize && u32(bytes, 0) == kEntrySignature, where, ": expected ", directory.entries,
            " entries in the zip directory, found only ", count, kCure);
    const size_t name_size = u16(bytes, 28);
    const size_t extra_size = u16(bytes, 30);
    const size_t entry_size = kEntrySize + name_size + extra_size + u16(bytes, 32);
    require(bytes.size() >= entry_size, where, ": expected ", entry_size, " bytes of entry ", count,
            " in the zip directory, found ", bytes.size(), kCure);
    ZipEntry entry{std::string(bytes.substr(kEntrySize, name_size)),
                   u32(bytes, 20),
                   u32(bytes, 24),
                   u32(bytes, 42),
                   u32(bytes, 16),
                   u16(bytes, 10),
                   u16(bytes, 8)};
    if (!read_zip64_extra(bytes.substr(kEntrySize + name_size, extra_size), entry)) {
      fail(where, ": entry ", printable(entry.name), ": expected its sizes in a ZIP64 field, found a damaged field",
           kCure);
    }
    entry.header_offset += directory.program_bytes;
    if (std::string name = unicode_path(bytes.substr(kEntrySize + name_size, extra_size), entry.name); !name.empty()) {
      entry.name = std::move(name);
      entry.flags |= kZipNameIsUtf8;
    }
    on_entry(std::move(entry));
    bytes.remove_prefix(entry_size);
  }
  // Writers without ZIP64 keep the low 16 bits of a larger count.
  require(count % 65536 == directory.entries % 65536, where, ": expected ", directory.entries,
          " entries in the zip directory, found ", count, kCure);
}

uint64_t zip_data_offset(const ReadAt& read, const ZipEntry& entry, const std::string& where) {
  const std::string header = read_bytes(read, entry.header_offset, kLocalSize);
  require(u32(header, 0) == kLocalSignature, where, ": expected its header at byte ", entry.header_offset,
          " of the zip archive, found other bytes", kCure);
  return entry.header_offset + kLocalSize + u16(header, 26) + u16(header, 28);
}

}  // namespace minimind
