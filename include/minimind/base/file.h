#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

namespace minimind {

namespace fs = std::filesystem;

/// Reads a whole regular file of at most 1 GiB. Throws Error with the path and the reason, at once for a folder, a
/// pipe, a socket or a device.
std::string read_file(const fs::path& path);

/// Writes a temporary file beside the target. commit() syncs it to disk and renames it over the target, so that a
/// reader sees the old file or the whole new file. Without commit() the target stays, and the destructor removes the
/// temporary file. A replaced file's mode stays. Of a link, the file that it names is written; the link stays. A pipe,
/// a character device (/dev/null) and the file of a standard stream (/dev/stdout) are never replaced: write() writes
/// into them, and commit() adds nothing. Throws Error with the path and the reason on every failure (full disk,
/// read-only or missing folder, write-protected file, folder or disk in the target's place).
class AtomicFile {
 public:
  explicit AtomicFile(fs::path target);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(std::string_view bytes);
  void write(const void* data, size_t size);
  /// The number of bytes written so far.
  size_t size() const { return size_; }
  /// Without `to_disk` a power cut may lose the file.
  void commit(bool to_disk = true);

 private:
  void open_temporary();

  fs::path name_;       // the caller's, for messages
  fs::path target_;     // behind all links
  fs::path temporary_;  // empty: written in place
  int descriptor_ = -1;
  size_t size_ = 0;
};

/// Writes the whole file by an AtomicFile.
void write_file_atomically(const fs::path& path, std::string_view bytes);

/// Appends to a file, which is made if it is missing, or writes into a pipe or a character device. Throws Error with
/// the path and the reason.
void append_to_file(const fs::path& path, std::string_view bytes);

/// Creates the folder and its parents. Throws Error if no file can be written in it.
void ensure_writable_folder(const fs::path& folder);

/// Removes temporary files that killed AtomicFile writers left in the folder: files of processes that no longer run on
/// this host, and of this process, which must not write there at the same time.
void remove_stale_temporaries(const fs::path& folder);

/// A regular file, mapped read-only into memory. Throws Error with path and reason. Copies share one mapping.
class MappedFile {
 public:
  explicit MappedFile(const fs::path& path);
  std::string_view bytes() const { return {static_cast<const char*>(mapping_->data), mapping_->size}; }
  const fs::path& path() const { return path_; }
  /// Lets the system drop the pages of [offset, offset + size) from memory; they are read again on access.
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
