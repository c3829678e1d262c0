#pragma once

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <mutex>
#include <vector>

#include "data/file_descriptor.h"
#include "minimind/base/content_hash.h"

namespace minimind::detail {

/// Rows of one size, found by a 128-bit key, appended by threads and processes at once.
///
/// Three files: `.rows` (the rows, one after the other), `.index` (a header, then one entry per row: key, checksum of
/// the row, check of the entry itself) and `.lock`. A writer holds an flock on `.lock`, writes the row and then its
/// entry; the system drops the lock of a killed process. An entry counts only if it is whole, its check fits and the
/// row's checksum fits when it is read, so nothing that a killed writer leaves behind is ever taken for a row. Readers
/// take no lock, and read rows by pread instead of a mapping: a file that is cut while they read ends no process.
class FeatureFile {
 public:
  enum class Access { kReadWrite, kReadOnly };
  /// Read only, the files must be there and whole: nothing is created, locked or mended, and append() is a mistake.
  FeatureFile(const std::filesystem::path& folder, const ContentHash& file_key, size_t row_bytes, Access access);
  ~FeatureFile();
  FeatureFile(const FeatureFile&) = delete;
  FeatureFile& operator=(const FeatureFile&) = delete;

  /// Copies the row out; false (and `out` undefined) where there is none or it is damaged.
  bool read(const ContentHash& key, void* out) const;
  bool contains(const ContentHash& key) const;
  /// Appends unless an undamaged row of this key is there. False on a full disk.
  bool append(const ContentHash& key, const void* row);
  int64_t size() const { return row_count_.load(std::memory_order_relaxed); }
  const std::filesystem::path& rows_path() const { return rows_path_; }
  /// Bytes on disk, index included.
  static size_t bytes_per_row(size_t row_bytes);

  struct Entry {
    ContentHash key;
    uint64_t row_checksum;
    uint64_t entry_check;
  };

 private:
  /// Rows and entries come in segments that never move, so that readers need no lock while the file grows.
  static constexpr size_t kSegmentRows = 4096;
  static constexpr size_t kMaxSegments = 1U << 16U;
  struct Segment {
    std::array<Entry, kSegmentRows> entries;
  };
  /// Open addressing; a slot holds row number + 1. Grown by replacement; earlier tables live on for readers.
  struct Table {
    explicit Table(size_t slot_count) : slots(slot_count) {}
    std::vector<std::atomic<uint32_t>> slots;
    size_t used = 0;
  };

  void open_to_write(const std::filesystem::path& lock_path);
  void open_to_read();
  bool header_fits() const;
  void write_header() const;
  /// Takes in the entries that this process or others appended. Under mutex_.
  void refresh() const;
  void refresh_if_grown() const;
  void insert(uint32_t row) const;
  void grow_table() const;
  Segment& segment_for_writing(size_t number) const;
  const Entry& entry(uint32_t row) const;
  /// Copies the row out; false where it is cut or damaged.
  bool read_row(uint32_t row, void* out) const;
  /// Row number + 1; 0: none.
  uint32_t find(const ContentHash& key) const;
  bool undamaged(uint32_t row) const;
  int64_t complete_entries() const;

  std::filesystem::path index_path_;
  std::filesystem::path rows_path_;
  ContentHash file_key_;
  size_t row_bytes_;
  size_t stride_;
  FileDescriptor lock_;
  FileDescriptor index_;
  FileDescriptor rows_;

  // Reading takes in what other processes appended: hence mutable.
  mutable std::mutex mutex_;
  mutable std::atomic<int64_t> entries_read_{0};
  mutable std::atomic<int64_t> row_count_{0};
  std::unique_ptr<std::atomic<Segment*>[]> segments_;
  mutable std::vector<std::unique_ptr<Table>> tables_;
  mutable std::atomic<Table*> table_{nullptr};
};

}  // namespace minimind::detail
