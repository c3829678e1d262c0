#include "data/feature_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>

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
static_assert(sizeof(FeatureFile::Entry) == 32);

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

// The entry's place takes part: a copied or shifted index does not pass.
uint64_t check_of(const FeatureFile::Entry& entry, int64_t number) {
  const ContentHash place{static_cast<uint64_t>(number), 0};
  return hash_content(bytes_of(entry, offsetof(FeatureFile::Entry, entry_check)), place).low;
}

uint64_t checksum(const void* row, size_t size) {
  return hash_content({static_cast<const char*>(row), size}).low;
}

off_t entry_offset(int64_t number) {
  return static_cast<off_t>(sizeof(Header) + sizeof(FeatureFile::Entry) * static_cast<size_t>(number));
}

int64_t file_size(int descriptor) {
  struct stat status {};
  return ::fstat(descriptor, &status) == 0 ? static_cast<int64_t>(status.st_size) : 0;
}

FileDescriptor open_file(const std::filesystem::path& path, int flags = O_RDWR | O_CREAT) {
  FileDescriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  require(descriptor.get() >= 0, path.string(), ": cannot be opened: ", std::strerror(errno));
  return descriptor;
}

// False with errno on failure.
bool write_all(int descriptor, std::string_view bytes, off_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += written;
  }
  return true;
}

size_t read_up_to(int descriptor, void* out, size_t size, off_t offset) {
  size_t done = 0;
  while (done < size) {
    const ssize_t got =
        ::pread(descriptor, static_cast<char*>(out) + done, size - done, offset + static_cast<off_t>(done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      break;
    }
    done += static_cast<size_t>(got);
  }
  return done;
}

// Held by one process of all that use the file; the system releases it when the holder dies.
class WriteLock {
 public:
  WriteLock(int descriptor, const std::filesystem::path& path) : descriptor_(descriptor) {
    int result = 0;
    do {
      result = ::flock(descriptor_, LOCK_EX);
    } while (result != 0 && errno == EINTR);
    require(result == 0, path.string(), ": cannot be locked: ", std::strerror(errno),
            "; choose a folder on a local disk");
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
    : file_key_(file_key),
      row_bytes_(row_bytes),
      stride_((row_bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment),
      segments_(new std::atomic<Segment*>[kMaxSegments]()) {
  const std::string name = "features_" + to_hex(file_key).substr(0, 16);
  index_path_ = folder / (name + ".index");
  rows_path_ = folder / (name + ".rows");
  if (access == Access::kReadWrite) {
    open_to_write(folder / (name + ".lock"));
  } else {
    open_to_read();
  }
  const std::lock_guard guard(mutex_);
  grow_table();
  refresh();
}

FeatureFile::~FeatureFile() {
  for (size_t number = 0; number < kMaxSegments; ++number) {
    Segment* segment = segments_[number].load();
    if (segment == nullptr) {
      break;
    }
    delete segment;
  }
}

void FeatureFile::open_to_read() {
  index_ = open_file(index_path_, O_RDONLY);
  rows_ = open_file(rows_path_, O_RDONLY);
  require(header_fits(), index_path_.string(), ": damaged, and cannot be built anew where nothing can be written");
}

void FeatureFile::open_to_write(const std::filesystem::path& lock_path) {
  lock_ = open_file(lock_path);
  const WriteLock lock(lock_.get(), lock_path);
  index_ = open_file(index_path_);
  rows_ = open_file(rows_path_);
  if (file_size(index_.get()) > 0 && !header_fits()) {
    log_warning(concat(index_path_.string(), ": damaged; the feature cache is built anew"));
    // New files: another process may still read the old ones.
    ::unlink(index_path_.c_str());
    ::unlink(rows_path_.c_str());
    index_ = open_file(index_path_);
    rows_ = open_file(rows_path_);
  }
  if (file_size(index_.get()) == 0) {
    write_header();
  }
}

bool FeatureFile::header_fits() const {
  Header found{};
  const Header expected = make_header(file_key_, row_bytes_);
  return read_up_to(index_.get(), &found, sizeof(found), 0) == sizeof(found) && bytes_of(found) == bytes_of(expected);
}

void FeatureFile::write_header() const {
  const Header header = make_header(file_key_, row_bytes_);
  const bool written = write_all(index_.get(), bytes_of(header), 0);
  require(written, index_path_.string(), ": cannot be written: ", std::strerror(errno));
}

size_t FeatureFile::bytes_per_row(size_t row_bytes) {
  return (row_bytes + kRowAlignment - 1) / kRowAlignment * kRowAlignment + sizeof(Entry);
}

int64_t FeatureFile::complete_entries() const {
  const int64_t bytes = file_size(index_.get()) - static_cast<int64_t>(sizeof(Header));
  return std::max<int64_t>(bytes, 0) / static_cast<int64_t>(sizeof(Entry));
}

void FeatureFile::refresh() const {
  // An entry whose row lies beyond the end of the rows (a cut file) stands for nothing.
  const int64_t readable = std::min(complete_entries(), file_size(rows_.get()) / static_cast<int64_t>(stride_));
  int64_t number = entries_read_.load(std::memory_order_relaxed);
  while (number < readable) {
    Segment& segment = segment_for_writing(static_cast<size_t>(number) / kSegmentRows);
    const size_t first = static_cast<size_t>(number) % kSegmentRows;
    const size_t wanted = std::min(kSegmentRows - first, static_cast<size_t>(readable - number));
    const size_t got = read_up_to(index_.get(), &segment.entries[first], wanted * sizeof(Entry), entry_offset(number));
    const size_t whole = got / sizeof(Entry);
    for (size_t i = 0; i < whole; ++i) {
      const int64_t current = number + static_cast<int64_t>(i);
      if (segment.entries[first + i].entry_check == check_of(segment.entries[first + i], current)) {
        insert(static_cast<uint32_t>(current));
      }
    }
    number += static_cast<int64_t>(whole);
    entries_read_.store(number, std::memory_order_release);
    if (whole < wanted) {
      return;
    }
  }
}

void FeatureFile::refresh_if_grown() const {
  if (complete_entries() > entries_read_.load(std::memory_order_acquire)) {
    const std::unique_lock guard(mutex_, std::try_to_lock);
    if (guard.owns_lock()) {
      refresh();
    }
  }
}

FeatureFile::Segment& FeatureFile::segment_for_writing(size_t number) const {
  require(number < kMaxSegments, rows_path_.string(), ": expected at most ", kMaxSegments * kSegmentRows, " rows");
  Segment* known = segments_[number].load(std::memory_order_relaxed);
  if (known != nullptr) {
    return *known;
  }
  auto* segment = new Segment;
  segments_[number].store(segment, std::memory_order_release);
  return *segment;
}

const FeatureFile::Entry& FeatureFile::entry(uint32_t row) const {
  return segments_[row / kSegmentRows].load(std::memory_order_acquire)->entries[row % kSegmentRows];
}

bool FeatureFile::read_row(uint32_t row, void* out) const {
  const auto offset = static_cast<off_t>(static_cast<size_t>(row) * stride_);
  return read_up_to(rows_.get(), out, row_bytes_, offset) == row_bytes_ &&
         checksum(out, row_bytes_) == entry(row).row_checksum;
}

void FeatureFile::grow_table() const {
  const Table* old = table_.load(std::memory_order_relaxed);
  auto grown = std::make_unique<Table>(old == nullptr ? 4096 : old->slots.size() * 2);
  const size_t mask = grown->slots.size() - 1;
  if (old != nullptr) {
    for (const auto& slot : old->slots) {
      const uint32_t row = slot.load(std::memory_order_relaxed);
      if (row == 0) {
        continue;
      }
      size_t at = entry(row - 1).key.low & mask;
      while (grown->slots[at].load(std::memory_order_relaxed) != 0) {
        at = (at + 1) & mask;
      }
      grown->slots[at].store(row, std::memory_order_relaxed);
      ++grown->used;
    }
  }
  tables_.push_back(std::move(grown));
  table_.store(tables_.back().get(), std::memory_order_release);
}

void FeatureFile::insert(uint32_t row) const {
  if (table_.load(std::memory_order_relaxed)->used * 2 >= table_.load(std::memory_order_relaxed)->slots.size()) {
    grow_table();
  }
  Table& table = *table_.load(std::memory_order_relaxed);
  const size_t mask = table.slots.size() - 1;
  size_t at = entry(row).key.low & mask;
  while (true) {
    const uint32_t there = table.slots[at].load(std::memory_order_relaxed);
    if (there == 0) {
      ++table.used;
      row_count_.fetch_add(1, std::memory_order_relaxed);
      break;
    }
    if (entry(there - 1).key == entry(row).key) {
      break;  // A later row replaces a damaged earlier one.
    }
    at = (at + 1) & mask;
  }
  table.slots[at].store(row + 1, std::memory_order_release);
}

uint32_t FeatureFile::find(const ContentHash& key) const {
  const Table& table = *table_.load(std::memory_order_acquire);
  const size_t mask = table.slots.size() - 1;
  for (size_t at = key.low & mask;; at = (at + 1) & mask) {
    const uint32_t row = table.slots[at].load(std::memory_order_acquire);
    if (row == 0 || entry(row - 1).key == key) {
      return row;
    }
  }
}

bool FeatureFile::undamaged(uint32_t row) const {
  std::string bytes(row_bytes_, '\0');
  return read_row(row, bytes.data());
}

bool FeatureFile::read(const ContentHash& key, void* out) const {
  uint32_t row = find(key);
  if (row == 0) {
    refresh_if_grown();
    row = find(key);
  }
  return row != 0 && read_row(row - 1, out);
}

bool FeatureFile::contains(const ContentHash& key) const {
  if (find(key) == 0) {
    refresh_if_grown();
  }
  const uint32_t row = find(key);
  return row != 0 && undamaged(row - 1);
}

bool FeatureFile::append(const ContentHash& key, const void* row) {
  const std::lock_guard guard(mutex_);
  const WriteLock lock(lock_.get(), rows_path_);
  refresh();
  const uint32_t known = find(key);
  if (known != 0 && undamaged(known - 1)) {
    return true;
  }
  // Whatever a killed writer left half-written after the last whole entry is overwritten here.
  const int64_t number = complete_entries();
  const off_t row_offset = static_cast<off_t>(static_cast<size_t>(number) * stride_);
  Entry entry{key, checksum(row, row_bytes_), 0};
  entry.entry_check = check_of(entry, number);
  std::string padded(static_cast<const char*>(row), row_bytes_);
  padded.resize(stride_, '\0');
  if (!write_all(rows_.get(), padded, row_offset) || !write_all(index_.get(), bytes_of(entry), entry_offset(number))) {
    const int reason = errno;
    [[maybe_unused]] const int cut_index = ::ftruncate(index_.get(), entry_offset(number));
    [[maybe_unused]] const int cut_rows = ::ftruncate(rows_.get(), row_offset);
    require(reason == ENOSPC || reason == EDQUOT || reason == EFBIG, rows_path_.string(),
            ": cannot be written: ", std::strerror(reason));
    return false;
  }
  refresh();
  return true;
}

}  // namespace minimind::detail
