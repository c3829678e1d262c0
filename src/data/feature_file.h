#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <unordered_map>

#include "base/file_descriptor.h"
#include "minimind/base/content_hash.h"

namespace minimind::detail {

/// Rows of one size, found by a content hash. Several threads and processes may append and read at once.
///
/// `NAME.rows` holds the rows one after the other. `NAME.index` holds a header and one entry per row: key, checksum of
/// the row, checksum of the entry and its place. Both files only grow. A writer locks the index (flock, which the
/// system releases when a process dies), writes the row and then its entry. An entry counts only if its own checksum
/// fits; a row counts only if its checksum fits when it is read. So nothing that a killed writer leaves behind is taken
/// for a row. Rows are read by pread, not through a mapping: a file that is cut meanwhile ends no process.
class FeatureFile {
 public:
  enum class Access { kReadWrite, kReadOnly };

  /// Opens the files, or creates them with kReadWrite. A damaged index is emptied with kReadWrite, else Error is
  /// thrown. Throws Error too if the files cannot be opened.
  FeatureFile(const std::filesystem::path& folder, const ContentHash& file_key, size_t row_bytes, Access access);

  /// Copies the row of `key` to `out`. False, with `out` undefined, if there is no row or the row is damaged.
  bool read(const ContentHash& key, void* out) const;
  /// Appends a row unless an undamaged row of this key is there. False if the disk is full. Throws Error if the system
  /// fails otherwise. Only with kReadWrite.
  bool append(const ContentHash& key, const void* row);
  /// Rows that this process knows of.
  int64_t size() const;
  const std::filesystem::path& rows_path() const { return rows_path_; }
  std::filesystem::path folder() const { return rows_path_.parent_path(); }
  bool is_read_only() const { return access_ == Access::kReadOnly; }
  /// Bytes on disk per row, with its entry.
  static size_t bytes_per_row(size_t row_bytes);

 private:
  struct Place {
    int64_t row;
    uint64_t checksum;
  };
  struct HashOfKey {
    size_t operator()(const ContentHash& key) const { return key.low; }
  };

  void open_to_write();
  bool header_fits() const;
  int64_t complete_entries() const;
  /// Reads the entries that any process has appended. The caller holds append_mutex_.
  void refresh() const;
  std::optional<Place> find(const ContentHash& key) const;
  bool read_row(const Place& place, void* out) const;

  std::filesystem::path index_path_;
  std::filesystem::path rows_path_;
  ContentHash file_key_;
  Access access_;
  size_t row_bytes_;
  size_t stride_;
  FileDescriptor index_;
  FileDescriptor rows_;

  // Mutable: reading takes in the entries of other processes.
  mutable std::mutex append_mutex_;         // one thread appends or refreshes
  mutable std::shared_mutex places_mutex_;  // guards places_
  mutable std::unordered_map<ContentHash, Place, HashOfKey> places_;
  mutable std::atomic<int64_t> entries_read_{0};
};

}  // namespace minimind::detail
