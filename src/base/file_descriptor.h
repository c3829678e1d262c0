#pragma once

#include <sys/types.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

namespace minimind {

/// Owns an open file and closes it when it is destroyed; -1: none.
class FileDescriptor {
 public:
  explicit FileDescriptor(int value = -1) : value_(value) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : value_(std::exchange(other.value_, -1)) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    std::swap(value_, other.value_);
    return *this;
  }
  int get() const { return value_; }
  /// Gives the file away: the caller closes it.
  int release() { return std::exchange(value_, -1); }
  /// Closes the file. Returns false, with the reason in errno, if that fails.
  bool reset() { return value_ < 0 || ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

/// "a folder", "a pipe", "a socket" or "a device"; null for a regular file. `mode` is a stat(2) st_mode.
const char* special_file_kind(mode_t mode);

/// Opens a regular file with the `flags` of open(2); O_CREAT makes a file of mode 0666 less the umask. Throws Error
/// with the path and the reason, at once if the path is a folder, a pipe, a socket or a device: none of them is opened.
FileDescriptor open_file(const std::filesystem::path& path, int flags);

/// Opens what may be written in place, with the `flags` of open(2): a regular file, a pipe that has a reader, a
/// terminal or another character device such as /dev/null. Throws Error for all else, without waiting for a reader.
FileDescriptor open_for_writing(const std::filesystem::path& path, int flags);

/// Reads at `offset` until `size` bytes are there. Returns how many came: fewer at the end of the file, or on an error,
/// with the reason in errno (0 at the end of the file).
size_t read_up_to(int descriptor, void* out, size_t size, uint64_t offset);

/// Reads exactly `size` bytes at `offset`. Throws Error that begins with `where`.
void read_exactly(int descriptor, void* out, size_t size, uint64_t offset, const std::string& where);

/// Writes all bytes at the file's position. Returns false, with the reason in errno, on failure.
bool write_all(int descriptor, std::string_view bytes);

/// Writes all bytes at `offset`. Returns false, with the reason in errno, on failure.
bool write_all(int descriptor, std::string_view bytes, uint64_t offset);

}  // namespace minimind
