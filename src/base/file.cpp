#include "minimind/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/file_descriptor.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

std::string system_reason() {
  const bool is_full = errno == ENOSPC || errno == EDQUOT;
  return std::strerror(errno) + std::string(is_full ? "; free some space there or choose another disk" : "");
}

FileDescriptor open_for_reading(const fs::path& path, struct stat& status, int flags = 0) {
  FileDescriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | flags));
  require(file.get() >= 0, path.string(), ": cannot be read: ", system_reason());
  require(::fstat(file.get(), &status) == 0 && !S_ISDIR(status.st_mode), path.string(),
          ": expected a file, found a folder");
  return file;
}

// Makes a rename durable.
void sync_folder(const fs::path& folder) {
  const FileDescriptor file(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() >= 0) {
    ::fsync(file.get());
  }
}

}  // namespace

std::string read_file(const fs::path& path) {
  struct stat status {};
  const FileDescriptor file = open_for_reading(path, status);
  std::string bytes;
  bytes.reserve(static_cast<size_t>(status.st_size));
  char buffer[1 << 16];
  while (true) {
    const ssize_t got = ::read(file.get(), buffer, sizeof(buffer));
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
  // Several writers of one target, in this process or others, need different names.
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
  const bool is_written = write_all(descriptor_, {static_cast<const char*>(data), size}, size_);
  require(is_written, target_.string(), ": cannot be written: ", system_reason());
  size_ += size;
}

void AtomicFile::commit() {
  if (::fsync(descriptor_) != 0) {  // errno must be read after this call, not in the same argument list
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
  const FileDescriptor file(::open(probe.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0644));
  require(file.get() >= 0, folder.string(), ": cannot be written: ", system_reason(), "; choose another folder");
  ::unlink(probe.c_str());
}

void remove_stale_temporaries(const fs::path& folder) {
  constexpr std::string_view kInfix = ".tmp.";
  std::vector<fs::path> stale;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder, ignored)) {
    const std::string name = entry.path().filename().string();
    const size_t infix = name.rfind(kInfix);
    int process = 0;
    int counter = 0;
    int length = 0;
    const bool is_temporary =
        infix != std::string::npos &&
        std::sscanf(name.c_str() + infix + kInfix.size(), "%d.%d%n", &process, &counter, &length) == 2 &&
        infix + kInfix.size() + static_cast<size_t>(length) == name.size() && process > 0;
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
  // Without O_NONBLOCK, opening a pipe would wait for its writer.
  const FileDescriptor file = open_for_reading(path, status, O_NONBLOCK);
  require(S_ISREG(status.st_mode), path.string(), ": expected a regular file, found a pipe or a device");
  mapping_->size = static_cast<size_t>(status.st_size);
  if (mapping_->size == 0) {
    return;
  }
  void* data = ::mmap(nullptr, mapping_->size, PROT_READ, MAP_PRIVATE, file.get(), 0);
  require(data != MAP_FAILED, path.string(), ": cannot be mapped: ", system_reason());
  mapping_->data = data;
}

void MappedFile::release(size_t offset, size_t size) const {
  const size_t page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  // Only whole pages inside the range: the bytes beside it may be in use.
  const size_t begin = (offset + page - 1) / page * page;
  const size_t end = std::min(offset + size, mapping_->size) / page * page;
  if (begin < end) {
    ::madvise(static_cast<char*>(mapping_->data) + begin, end - begin, MADV_DONTNEED);
  }
}

}  // namespace minimind
