#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace minimind {

namespace fs = std::filesystem;

/// The whole file. Throws Error with the path and the system's reason.
std::string read_file(const fs::path& path);

/// Writes beside the target and renames over it on commit(), synced to disk, so that a reader sees the old file or the
/// whole new one. An object that dies without commit() leaves the target as it was and removes its temporary file.
/// Throws Error with the path and the system's reason on every failure (full disk, read-only or missing folder).
class AtomicFile {
 public:
  explicit AtomicFile(fs::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void write(const void* data, size_t size);
  /// Bytes written so far.
  size_t size() const { return size_; }
  void commit();

 private:
  fs::path target_;
  fs::path temporary_;
  int descriptor_ = -1;
  size_t size_ = 0;
};

/// AtomicFile in one call.
void write_file_atomically(const fs::path& path, std::string_view bytes);

/// Creates the folder (and parents) and checks that files can be written in it. Throws Error otherwise.
void ensure_writable_folder(const fs::path& folder);

/// Removes what AtomicFile writers left in the folder when they were killed: temporary files of processes that no
/// longer run on this host, and of this one, which writes nothing there meanwhile.
void remove_stale_temporaries(const fs::path& folder);

/// A file mapped read-only into memory. Throws Error with path and reason. Copies share one mapping.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);
  std::string_view bytes() const { return {static_cast<const char*>(mapping_->data), mapping_->size}; }
  const fs::path& path() const { return path_; }
  /// Tells the system that the pages of [offset, offset + size) are no longer needed in memory.
  void release(size_t offset, size_t size) const;

 private:
  struct Mapping {
    void* data = nullptr;
    size_t size = 0;
    ~Mapping();
  };
  fs::path path_;
  std::shared_ptr<Mapping> mapping_;
};

}  // namespace minimind
