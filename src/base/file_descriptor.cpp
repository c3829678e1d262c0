#include "base/file_descriptor.h"

#include <fcntl.h>

#include <cerrno>
#include <cstring>

#include "minimind/base/error.h"

namespace minimind {

FileDescriptor open_file(const std::filesystem::path& path, int flags) {
  FileDescriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC, 0644));
  require(descriptor.get() >= 0, path.string(), ": cannot be opened: ", std::strerror(errno));
  return descriptor;
}

size_t read_up_to(int descriptor, void* out, size_t size, uint64_t offset) {
  size_t done = 0;
  while (done < size) {
    errno = 0;
    const ssize_t got =
        ::pread(descriptor, static_cast<char*>(out) + done, size - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    if (got <= 0) {
      return done;
    }
    done += static_cast<size_t>(got);
  }
  return done;
}

void read_exactly(int descriptor, void* out, size_t size, uint64_t offset, const std::string& where) {
  const size_t got = read_up_to(descriptor, out, size, offset);
  if (got < size) {
    require(errno == 0, where, ": cannot be read: ", std::strerror(errno));
    fail(where, ": expected ", size, " bytes at offset ", offset, ", found the end of the file after ", got,
         "; the file is truncated, copy or download it again");
  }
}

bool write_all(int descriptor, std::string_view bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return true;
}

}  // namespace minimind
