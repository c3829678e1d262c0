#include "data/zip_index.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cstring>
#include <numeric>
#include <utility>

#include "minimind/base/content_hash.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

constexpr uint32_t kEndSignature = 0x06054B50;
constexpr uint32_t kZip64EndSignature = 0x06064B50;
constexpr uint32_t kZip64LocatorSignature = 0x07064B50;
constexpr uint32_t kEntrySignature = 0x02014B50;
constexpr size_t kEndSize = 22;
constexpr size_t kZip64EndSize = 56;
constexpr size_t kZip64LocatorSize = 20;
constexpr size_t kEntrySize = 46;
constexpr size_t kMaxComment = 65535;
constexpr uint16_t kZip64Extra = 1;
constexpr uint64_t kMaxDirectory = uint64_t{1} << 30U;

// Zip numbers are little-endian, as is every machine that LibTorch's wheels run on.
template <class T>
T number_at(std::string_view bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(value));
  return value;
}

uint64_t name_hash(std::string_view name) {
  return hash_content(name).low;
}

bool less_backwards(std::string_view a, std::string_view b) {
  return std::lexicographical_compare(a.rbegin(), a.rend(), b.rbegin(), b.rend());
}

// Fields of 0xFFFFFFFF stand in the zip64 extra field instead, in this order and only those.
bool read_zip64_extra(std::string_view extra, ZipEntry& entry) {
  const bool wants_size = entry.size == UINT32_MAX;
  const bool wants_stored = entry.stored_size == UINT32_MAX;
  const bool wants_offset = entry.header_offset == UINT32_MAX;
  if (!wants_size && !wants_stored && !wants_offset) {
    return true;
  }
  while (extra.size() >= 4) {
    const auto id = number_at<uint16_t>(extra, 0);
    const size_t size = number_at<uint16_t>(extra, 2);
    if (size > extra.size() - 4) {
      return false;
    }
    if (id == kZip64Extra) {
      std::string_view fields = extra.substr(4, size);
      for (auto [wanted, field] : {std::pair{wants_size, &entry.size}, std::pair{wants_stored, &entry.stored_size},
                                   std::pair{wants_offset, &entry.header_offset}}) {
        if (wanted) {
          if (fields.size() < sizeof(uint64_t)) {
            return false;
          }
          *field = number_at<uint64_t>(fields, 0);
          fields.remove_prefix(sizeof(uint64_t));
        }
      }
      return true;
    }
    extra.remove_prefix(4 + size);
  }
  return false;
}

}  // namespace

void read_exactly(int descriptor, void* out, size_t size, uint64_t offset, const std::string& where) {
  auto* next = static_cast<char*>(out);
  while (size > 0) {
    const ssize_t got = ::pread(descriptor, next, size, static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    require(got >= 0, where, ": cannot be read: ", std::strerror(errno));
    require(got > 0, where, ": expected ", size, " more byte(s) at offset ", offset, ", found the end of the file");
    next += got;
    offset += static_cast<uint64_t>(got);
    size -= static_cast<size_t>(got);
  }
}

ZipIndex::ZipIndex(int descriptor, std::string where) : where_(std::move(where)) {
  struct stat status {};
  const bool known = ::fstat(descriptor, &status) == 0;
  require(known, where_, ": cannot be read: ", std::strerror(errno));
  file_size_ = static_cast<uint64_t>(status.st_size);
  const Directory directory = find_directory(descriptor);
  require(directory.offset <= file_size_ && directory.size <= file_size_ - directory.offset, where_,
          ": expected the zip directory inside the file of ", file_size_, " bytes, found it at ", directory.offset,
          " with ", directory.size, " bytes; was the download cut?");
  require(directory.size <= kMaxDirectory, where_, ": expected a zip directory of at most ", kMaxDirectory,
          " bytes, found one of ", directory.size);
  std::string bytes(directory.size, '\0');
  read_exactly(descriptor, bytes.data(), bytes.size(), directory.offset, where_);
  read_directory(bytes, directory.entries);
  build_tables();
}

ZipIndex::Directory ZipIndex::find_directory(int descriptor) const {
  const size_t tail_size = std::min<uint64_t>(file_size_, kEndSize + kMaxComment + kZip64LocatorSize);
  const uint64_t tail_offset = file_size_ - tail_size;
  std::string tail(tail_size, '\0');
  read_exactly(descriptor, tail.data(), tail.size(), tail_offset, where_);
  for (size_t at = tail_size < kEndSize ? 0 : tail_size - kEndSize + 1; at-- > 0;) {
    if (number_at<uint32_t>(tail, at) != kEndSignature ||
        number_at<uint16_t>(tail, at + 20) > tail_size - at - kEndSize) {
      continue;
    }
    require(number_at<uint16_t>(tail, at + 4) == number_at<uint16_t>(tail, at + 6), where_,
            ": expected a zip in one file, found a part of a split one");
    Directory directory;
    directory.entries = number_at<uint16_t>(tail, at + 10);
    directory.size = number_at<uint32_t>(tail, at + 12);
    directory.offset = number_at<uint32_t>(tail, at + 16);
    return read_zip64_end(descriptor, tail_offset + at, directory);
  }
  fail(where_, ": expected a zip file, found no end-of-directory record in its last ", tail_size,
       " bytes; was the download cut?");
}

ZipIndex::Directory ZipIndex::read_zip64_end(int descriptor, uint64_t end_offset, Directory directory) const {
  if (end_offset < kZip64LocatorSize) {
    return directory;
  }
  std::string locator(kZip64LocatorSize, '\0');
  read_exactly(descriptor, locator.data(), locator.size(), end_offset - kZip64LocatorSize, where_);
  if (number_at<uint32_t>(locator, 0) != kZip64LocatorSignature) {
    return directory;
  }
  const auto offset = number_at<uint64_t>(locator, 8);
  require(offset < file_size_ && file_size_ - offset >= kZip64EndSize, where_,
          ": expected the zip64 end record inside the file, found it at ", offset);
  std::string record(kZip64EndSize, '\0');
  read_exactly(descriptor, record.data(), record.size(), offset, where_);
  require(number_at<uint32_t>(record, 0) == kZip64EndSignature, where_, ": expected the zip64 end record at ", offset,
          ", found something else");
  directory.entries = number_at<uint64_t>(record, 32);
  directory.size = number_at<uint64_t>(record, 40);
  directory.offset = number_at<uint64_t>(record, 48);
  return directory;
}

void ZipIndex::read_directory(std::string_view bytes, uint64_t entry_count) {
  const size_t most = bytes.size() / kEntrySize;
  entries_.reserve(std::min<uint64_t>(entry_count, most));
  names_.reserve(bytes.size() - entries_.capacity() * kEntrySize);
  uint64_t number = 0;
  for (; !bytes.empty(); ++number) {
    require(bytes.size() >= kEntrySize && number_at<uint32_t>(bytes, 0) == kEntrySignature, where_, ": expected ",
            entry_count, " entries in the zip directory, found ", number, " before it breaks off");
    const size_t name_size = number_at<uint16_t>(bytes, 28);
    const size_t extra_size = number_at<uint16_t>(bytes, 30);
    const size_t comment_size = number_at<uint16_t>(bytes, 32);
    require(bytes.size() - kEntrySize >= name_size + extra_size + comment_size, where_, ": entry ", number,
            " of the zip directory is cut");
    ZipEntry entry;
    entry.flags = number_at<uint16_t>(bytes, 8);
    entry.method = number_at<uint16_t>(bytes, 10);
    entry.crc = number_at<uint32_t>(bytes, 16);
    entry.stored_size = number_at<uint32_t>(bytes, 20);
    entry.size = number_at<uint32_t>(bytes, 24);
    entry.header_offset = number_at<uint32_t>(bytes, 42);
    const std::string_view name = bytes.substr(kEntrySize, name_size);
    require(read_zip64_extra(bytes.substr(kEntrySize + name_size, extra_size), entry), where_, ": entry ", name,
            ": expected its zip64 sizes, found a damaged extra field");
    if (!name.empty() && name.back() != '/') {
      entry.name_offset = names_.size();
      entry.name_size = static_cast<uint32_t>(name_size);
      names_.append(name);
      entries_.push_back(entry);
    }
    bytes.remove_prefix(kEntrySize + name_size + extra_size + comment_size);
  }
  // Writers without zip64 keep the low 16 bits of a larger count.
  require(number % 65536 == entry_count % 65536, where_, ": expected ", entry_count,
          " entries in the zip directory, found ", number);
}

void ZipIndex::build_tables() {
  require(entries_.size() < UINT32_MAX, where_, ": too many entries: ", entries_.size());
  const size_t slots = std::bit_ceil(2 * entries_.size() + 1);
  by_path_.assign(slots, 0);
  for (size_t number = 0; number < entries_.size(); ++number) {
    const std::string_view path = name(entries_[number]);
    size_t at = name_hash(path) & (slots - 1);
    while (by_path_[at] != 0 && name(entries_[by_path_[at] - 1]) != path) {
      at = (at + 1) & (slots - 1);
    }
    by_path_[at] = static_cast<uint32_t>(number + 1);  // Of equal paths the last counts, as unpacking would have it.
  }
  by_ending_.resize(entries_.size());
  std::iota(by_ending_.begin(), by_ending_.end(), 0U);
  // Stable: of equal paths the last stays the last.
  std::stable_sort(by_ending_.begin(), by_ending_.end(),
                   [&](uint32_t a, uint32_t b) { return less_backwards(name(entries_[a]), name(entries_[b])); });
}

const ZipEntry* ZipIndex::find_path(std::string_view path) const {
  const size_t mask = by_path_.size() - 1;
  for (size_t at = name_hash(path) & mask; by_path_[at] != 0; at = (at + 1) & mask) {
    const ZipEntry& entry = entries_[by_path_[at] - 1];
    if (name(entry) == path) {
      return &entry;
    }
  }
  return nullptr;
}

std::pair<ZipIndex::Numbers::const_iterator, ZipIndex::Numbers::const_iterator> ZipIndex::range_ending(
    std::string_view ending) const {
  const std::string wanted = concat('/', ending);
  const auto tail = [&](uint32_t number) {
    const std::string_view path = name(entries_[number]);
    return path.substr(path.size() - std::min(path.size(), wanted.size()));
  };
  const auto first = std::partition_point(by_ending_.begin(), by_ending_.end(),
                                          [&](uint32_t number) { return less_backwards(tail(number), wanted); });
  const auto last =
      std::partition_point(first, by_ending_.end(), [&](uint32_t number) { return tail(number) == wanted; });
  return {first, last};
}

const ZipEntry* ZipIndex::find_ending(std::string_view ending) const {
  const auto [first, last] = range_ending(ending);
  if (first == last || paths_ending(ending)) {
    return nullptr;
  }
  return &entries_[*(last - 1)];
}

std::optional<std::pair<std::string_view, std::string_view>> ZipIndex::paths_ending(std::string_view ending) const {
  const auto [first, last] = range_ending(ending);
  if (first == last) {
    return std::nullopt;
  }
  // Sorted: if the outermost two are equal, all between them are.
  const std::pair<std::string_view, std::string_view> paths =
      std::minmax({name(entries_[*first]), name(entries_[*(last - 1)])});
  return paths.first == paths.second ? std::nullopt : std::optional(paths);
}

bool ZipIndex::has_folder(std::string_view folder) const {
  const std::string beginning = concat(folder, '/');
  return std::ranges::any_of(entries_, [&](const ZipEntry& entry) { return name(entry).starts_with(beginning); });
}

}  // namespace minimind::detail
