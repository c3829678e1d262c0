#include "data/feature_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/log.h"

namespace minimind::detail {

namespace {

constexpr std::string_view kMagic = "MMVFEAT1";
constexpr size_t kRowAlignment = 64;

struct Header {
  std::array<char, 8> magic;
  ContentHash file_key;
  uint64_t row_bytes;
  std::array<uint64_t, 3> reserved;
  uint64_t check;
};
static_assert(sizeof(Header) == 64);

struct Entry {
  ContentHash key;
  uint64_t row_checksum = 0;
  uint64_t check = 0;
};
static_assert(sizeof(Entry) == 32);

template <class T>
std::string_view bytes_of(const T& value, size_t size = sizeof(T)) {
  return {reinterpret_cast<const char*>(&value), size};
}

Header make_header(const ContentHash& file_key, size_t row_bytes) {
  Header header{};
  std::copy(kMagic.begin(), kMagic.end(), header.magic.begin());
  header.file_key = file_key;
  header.row_bytes = row_bytes;
  header.check = hash_content(bytes_of(header, offsetof(Header, check))).low;
  return header;
}

// The entry's place is part of its checksum: a copied or shifted entry does not pass.
uint64_t check_of(const Entry& entry, int64_t row) {
  return hash_content(bytes_of(entry, offsetof(Entry, check)), {static_cast<uint64_t>(row), 0}).low;
}

uint64_t checksum(const void* row, size_t size) {
  return hash_content({static_cast<const char*>(row), size}).low;
}

uint64_t entry_offset(int64_t row) {
  return sizeof(Header) + sizeof(Entry) * static_cast<uint64_t>(row);
}

size_t aligned(size_t row_bytes) {
  return (row_bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment;
}

int64_t file_size(const FileDescriptor& file) {
  struct stat status {};
  return ::fstat(file.get(), &status) == 0 ? status.st_size : 0;
}

// Held by at most one of the processes that use the file.
class WriteLock {
 public:
  WriteLock(const FileDescriptor& file, const std::filesystem::path& path) : descriptor_(file.get()) {
    int result = 0;
    do {
      result = ::flock(descriptor_, LOCK_EX);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
      fail(path.string(), ": cannot be locked: ", std::strerror(errno), "; choose a folder on a local disk");
    }
  }
  ~WriteLock() { ::flock(descriptor_, LOCK_UN); }
  WriteLock(const WriteLock&) = delete;
  WriteLock& operator=(const WriteLock&) = delete;

 private:
  int descriptor_;
};

}  // namespace

FeatureFile::FeatureFile(const std::filesystem::path& folder, const ContentHash& file_key, size_t row_bytes,
                         Access access)
    : file_key_(file_key), access_(access), row_bytes_(row_bytes), stride_(aligned(row_bytes)) {
  const std::string name = "features_" + to_hex(file_key).substr(0, 16);
  index_path_ = folder / (name + ".index");
  rows_path_ = folder / (name + ".rows");
  const int flags = access == Access::kReadWrite ? O_RDWR | O_CREAT : O_RDONLY;
  index_ = open_file(index_path_, flags);
  rows_ = open_file(rows_path_, flags);
  if (access == Access::kReadWrite) {
    open_to_write();
  } else {
    require(header_fits(), index_path_.string(),
            ": expected the index of a feature cache, found a damaged file that cannot be replaced in this folder");
  }
  const std::lock_guard guard(append_mutex_);
  refresh();
}

void FeatureFile::open_to_write() {
  const WriteLock lock(index_, index_path_);
  if (header_fits()) {
    return;
  }
  if (file_size(index_) > 0) {
    log_warning(concat(index_path_.string(), ": the index is damaged; the feature cache starts empty"));
  }
  const Header header = make_header(file_key_, row_bytes_);
  if (::ftruncate(index_.get(), 0) != 0 || ::ftruncate(rows_.get(), 0) != 0 ||
      !write_all(index_.get(), bytes_of(header), 0)) {
    fail(index_path_.string(), ": cannot be written: ", std::strerror(errno));
  }
}

bool FeatureFile::header_fits() const {
  Header found{};
  const Header expected = make_header(file_key_, row_bytes_);
  return read_up_to(index_.get(), &found, sizeof(found), 0) == sizeof(found) && bytes_of(found) == bytes_of(expected);
}

size_t FeatureFile::bytes_per_row(size_t row_bytes) {
  return aligned(row_bytes) + sizeof(Entry);
}

int64_t FeatureFile::size() const {
  const std::shared_lock guard(places_mutex_);
  return std::ssize(places_);
}

int64_t FeatureFile::complete_entries() const {
  const int64_t bytes = file_size(index_) - static_cast<int64_t>(sizeof(Header));
  return std::max<int64_t>(bytes, 0) / static_cast<int64_t>(sizeof(Entry));
}

void FeatureFile::refresh() const {
  // An entry does not count if its row lies behind the end of the rows (a cut file).
  const int64_t readable = std::min(complete_entries(), file_size(rows_) / static_cast<int64_t>(stride_));
  const int64_t first = std::min<int64_t>(entries_read_, readable);  // less if a file was cut
  std::vector<Entry> entries(static_cast<size_t>(readable - first));
  entries.resize(read_up_to(index_.get(), entries.data(), entries.size() * sizeof(Entry), entry_offset(first)) /
                 sizeof(Entry));
  const std::unique_lock guard(places_mutex_);
  for (size_t i = 0; i < entries.size(); ++i) {
    const int64_t row = first + static_cast<int64_t>(i);
    if (entries[i].check == check_of(entries[i], row)) {
      places_.insert_or_assign(entries[i].key,
                               Place{row, entries[i].row_checksum});  // A later row replaces a damaged one.
    }
  }
  entries_read_ = first + std::ssize(entries);
}

std::optional<FeatureFile::Place> FeatureFile::find(const ContentHash& key) const {
  const std::shared_lock guard(places_mutex_);
  const auto found = places_.find(key);
  return found == places_.end() ? std::nullopt : std::optional(found->second);
}

bool FeatureFile::read_row(const Place& place, void* out) const {
  const uint64_t offset = static_cast<uint64_t>(place.row) * stride_;
  return read_up_to(rows_.get(), out, row_bytes_, offset) == row_bytes_ && checksum(out, row_bytes_) == place.checksum;
}

bool FeatureFile::read(const ContentHash& key, void* out) const {
  std::optional<Place> place = find(key);
  if (!place && complete_entries() > entries_read_) {
    if (const std::unique_lock guard(append_mutex_, std::try_to_lock); guard.owns_lock()) {
      refresh();
    }
    place = find(key);
  }
  return place && read_row(*place, out);
}

bool FeatureFile::append(const ContentHash& key, const void* row) {
  const std::lock_guard guard(append_mutex_);
  const WriteLock lock(index_, index_path_);
  refresh();
  if (const auto place = find(key)) {
    std::string known(row_bytes_, '\0');
    if (read_row(*place, known.data())) {
      return true;
    }
  }
  std::string bytes(static_cast<const char*>(row), row_bytes_);
  bytes.resize(stride_, '\0');
  // What a killed writer left behind the last complete entry is overwritten here.
  const int64_t number = complete_entries();
  const uint64_t row_offset = static_cast<uint64_t>(number) * stride_;
  Entry entry{key, checksum(row, row_bytes_), 0};
  entry.check = check_of(entry, number);
  if (!write_all(rows_.get(), bytes, row_offset) || !write_all(index_.get(), bytes_of(entry), entry_offset(number))) {
    const int reason = errno;
    [[maybe_unused]] const int cut_index = ::ftruncate(index_.get(), static_cast<off_t>(entry_offset(number)));
    [[maybe_unused]] const int cut_rows = ::ftruncate(rows_.get(), static_cast<off_t>(row_offset));
    require(reason == ENOSPC || reason == EDQUOT || reason == EFBIG, rows_path_.string(),
            ": cannot be written: ", std::strerror(reason));
    return false;
  }
  refresh();
  return true;
}

}  // namespace minimind::detail
