#pragma once

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
  /// Closes the file. Returns false, with the reason in errno, if that fails.
  bool reset() { return value_ < 0 || ::close(std::exchange(value_, -1)) == 0; }

 private:
  int value_;
};

/// Opens the file with the `flags` of open(2). Throws Error with the path and the system's reason.
FileDescriptor open_file(const std::filesystem::path& path, int flags);

/// Reads at `offset` until `size` bytes are there. Returns how many came: fewer at the end of the file, or on an error,
/// with the reason in errno (0 at the end of the file).
size_t read_up_to(int descriptor, void* out, size_t size, uint64_t offset);

/// Reads exactly `size` bytes at `offset`. Throws Error that begins with `where`.
void read_exactly(int descriptor, void* out, size_t size, uint64_t offset, const std::string& where);

/// Writes all bytes at `offset`. Returns false, with the reason in errno, on failure.
bool write_all(int descriptor, std::string_view bytes, uint64_t offset);

}  // namespace minimind
