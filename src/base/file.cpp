#include "minimind/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include "minimind/base/error.h"

namespace minimind {

namespace {

std::string system_reason() {
  const bool is_full = errno == ENOSPC || errno == EDQUOT;
  return std::strerror(errno) + std::string(is_full ? "; free some space there or choose another disk" : "");
}

// Closes on every way out.
struct Descriptor {
  int value = -1;
  ~Descriptor() {
    if (value >= 0) {
      ::close(value);
    }
  }
};

int open_for_reading(const fs::path& path, struct stat& status, int flags = 0) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags);
  require(descriptor >= 0, path.string(), ": cannot be read: ", system_reason());
  if (::fstat(descriptor, &status) != 0 || S_ISDIR(status.st_mode)) {
    ::close(descriptor);
    fail(path.string(), ": expected a file, found a folder");
  }
  return descriptor;
}

// Makes a rename durable.
void sync_folder(const fs::path& folder) {
  Descriptor descriptor{::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (descriptor.value >= 0) {
    ::fsync(descriptor.value);
  }
}

}  // namespace

std::string read_file(const fs::path& path) {
  struct stat status {};
  Descriptor descriptor{open_for_reading(path, status)};
  std::string bytes;
  bytes.reserve(static_cast<size_t>(status.st_size));
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(descriptor.value, buffer, sizeof(buffer));
    if (got < 0 && errno == EINTR) {
      continue;
    }
    require(got >= 0, path.string(), ": cannot be read: ", system_reason());
    if (got == 0) {
      return bytes;
    }
    bytes.append(buffer, static_cast<size_t>(got));
  }
}

AtomicFile::AtomicFile(fs::path target) : target_(std::move(target)) {
  // Distinct names for several writers of one target in this and other processes.
  static std::atomic<uint64_t> counter{0};
  temporary_ = target_;
  temporary_ += concat(".tmp.", ::getpid(), ".", counter++);
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  require(descriptor_ >= 0, target_.string(), ": cannot be written: ", system_reason());
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    ::unlink(temporary_.c_str());
  }
}

void AtomicFile::write(std::string_view bytes) {
  write(bytes.data(), bytes.size());
}

void AtomicFile::write(const void* data, size_t size) {
  const char* next = static_cast<const char*>(data);
  size_ += size;
  while (size > 0) {
    const ssize_t written = ::write(descriptor_, next, size);
    if (written < 0 && errno == EINTR) {
      continue;
    }
    require(written >= 0, target_.string(), ": cannot be written: ", system_reason());
    next += written;
    size -= static_cast<size_t>(written);
  }
}

void AtomicFile::commit() {
  // The reason is read after the call: arguments of one call are evaluated in no set order.
  if (::fsync(descriptor_) != 0) {
    fail(target_.string(), ": cannot be written: ", system_reason());
  }
  const int closed = ::close(descriptor_);
  descriptor_ = -1;
  if (closed != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const std::string reason = system_reason();
    ::unlink(temporary_.c_str());
    fail(target_.string(), ": cannot be written: ", reason);
  }
  sync_folder(target_.parent_path());
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void ensure_writable_folder(const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  require(fs::is_directory(folder), folder.string(),
          ": expected a folder that can be created: ", error ? error.message() : "a file of that name is in the way");
  const fs::path probe = folder / concat(".write_probe.", ::getpid());
  Descriptor descriptor{::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644)};
  require(descriptor.value >= 0, folder.string(), ": cannot be written: ", system_reason(), "; choose another folder");
  ::unlink(probe.c_str());
}

void remove_stale_temporaries(const fs::path& folder) {
  constexpr std::string_view kMark = ".tmp.";
  std::vector<fs::path> stale;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const size_t mark = name.rfind(kMark);
    int process = 0;
    int counter = 0;
    int length = 0;
    const bool is_temporary =
        mark != std::string::npos &&
        std::sscanf(name.c_str() + mark + kMark.size(), "%d.%d%n", &process, &counter, &length) == 2 &&
        mark + kMark.size() + static_cast<size_t>(length) == name.size() && process > 0;
    if (is_temporary && (process == ::getpid() || (::kill(process, 0) != 0 && errno == ESRCH))) {
      stale.push_back(entry.path());
    }
  }
  for (const fs::path& path : stale) {
    fs::remove(path, ignored);
  }
}

MappedFile::Mapping::~Mapping() {
  if (data != nullptr) {
    ::munmap(data, size);
  }
}

MappedFile::MappedFile(const fs::path& path) : path_(path), mapping_(std::make_shared<Mapping>()) {
  struct stat status {};
  // Opening a pipe would wait for its writer.
  Descriptor descriptor{open_for_reading(path, status, O_NONBLOCK)};
  require(S_ISREG(status.st_mode), path.string(), ": expected a regular file, found a pipe or a device");
  mapping_->size = static_cast<size_t>(status.st_size);
  if (mapping_->size == 0) {
    return;
  }
  void* data = ::mmap(nullptr, mapping_->size, PROT_READ, MAP_PRIVATE, descriptor.value, 0);
  require(data != MAP_FAILED, path.string(), ": cannot be mapped: ", system_reason());
  mapping_->data = data;
}

void MappedFile::release(size_t offset, size_t size) const {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  // Only whole pages inside the range: a neighbour may still be in use.
  const size_t begin = (offset + page - 1) / page * page;
  const size_t end = std::min(offset + size, mapping_->size) / page * page;
  if (begin < end) {
    ::madvise(static_cast<char*>(mapping_->data) + begin, end - begin, MADV_DONTNEED);
  }
}

}  // namespace minimind
