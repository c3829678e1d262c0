#include "base/file_descriptor.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <cerrno>
#include <cstring>

#include "minimind/base/error.h"

namespace minimind {

namespace {

void require_regular(const std::filesystem::path& path, const char* kind) {
  require(kind == nullptr, path.string(), ": expected a file, found ", kind == nullptr ? "" : kind,
          "; give the path of a regular file");
}

}  // namespace

const char* special_file_kind(mode_t mode) {
  return S_ISREG(mode)    ? nullptr
         : S_ISDIR(mode)  ? "a folder"
         : S_ISFIFO(mode) ? "a pipe"
         : S_ISSOCK(mode) ? "a socket"
                          : "a device";
}

FileDescriptor open_file(const std::filesystem::path& path, int flags) {
  struct stat status {};
  // Looked at first: opening a device may act on it, and a socket cannot be opened.
  if (::stat(path.c_str(), &status) == 0) {
    require_regular(path, special_file_kind(status.st_mode));
  }
  // O_NONBLOCK: should the file become a pipe now, its opening must not wait for a writer.
  FileDescriptor descriptor(::open(path.c_str(), flags | O_CLOEXEC | O_NONBLOCK, 0666));
  const bool reads = (flags & O_ACCMODE) == O_RDONLY;
  require(descriptor.get() >= 0, path.string(),
          reads ? ": cannot be read: " : ": cannot be opened: ", std::strerror(errno));
  if (::fstat(descriptor.get(), &status) != 0) {
    fail(path.string(), ": cannot be read: ", std::strerror(errno));
  }
  require_regular(path, special_file_kind(status.st_mode));
  return descriptor;
}

FileDescriptor open_for_writing(const std::filesystem::path& path, int flags) {
  struct stat status {};
  if (::stat(path.c_str(), &status) == 0) {
    const bool is_writable = S_ISREG(status.st_mode) || S_ISFIFO(status.st_mode) || S_ISCHR(status.st_mode);
    require(is_writable, path.string(), ": expected a file to write, found ",
            S_ISBLK(status.st_mode) ? "a disk"
            : is_writable           ? ""
                                    : special_file_kind(status.st_mode),
            "; choose another name");
  }
  // O_NONBLOCK: opening a pipe must not wait for its reader.
  FileDescriptor descriptor(::open(path.c_str(), O_WRONLY | flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0666));
  const bool lacks_reader = descriptor.get() < 0 && errno == ENXIO && S_ISFIFO(status.st_mode);
  require(!lacks_reader, path.string(),
          ": expected a pipe with a reader, found a pipe that nobody reads; start its reader first");
  require(descriptor.get() >= 0, path.string(), ": cannot be written: ", std::strerror(errno));
  ::fcntl(descriptor.get(), F_SETFL, ::fcntl(descriptor.get(), F_GETFL) & ~O_NONBLOCK);
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

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      continue;
    }
    if (written <= 0) {
      return false;
    }
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return true;
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
