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
#include <utility>
#include <vector>

#include "base/file_descriptor.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

std::string system_reason() {
  const bool is_full = errno == ENOSPC || errno == EDQUOT;
  return std::strerror(errno) + std::string(is_full ? "; free some space there or choose another disk" : "");
}

// Makes a rename durable.
void sync_folder(const fs::path& folder) {
  const FileDescriptor file(::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (file.get() >= 0) {
    ::fsync(file.get());
  }
}

/// The path behind all links; of a link to nothing, the path that it names.
fs::path without_links(fs::path path) {
  constexpr int kMostLinks = 40;  // the kernel's limit
  std::error_code error;
  for (int i = 0; i < kMostLinks && fs::is_symlink(path, error); ++i) {
    path = path.parent_path() / fs::read_symlink(path, error);
  }
  return path;
}

/// The standard stream that writes into this file; -1: neither.
int standard_stream_of(const struct stat& status) {
  for (const int stream : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat own {};
    if (::fstat(stream, &own) == 0 && own.st_dev == status.st_dev && own.st_ino == status.st_ino) {
      return stream;
    }
  }
  return -1;
}

}  // namespace

std::string read_file(const fs::path& path) {
  constexpr size_t kMostBytes = size_t{1} << 30U;
  const FileDescriptor file = open_file(path, O_RDONLY);
  struct stat status {};
  const size_t expected = ::fstat(file.get(), &status) == 0 ? static_cast<size_t>(status.st_size) : 0;
  std::string bytes;
  bytes.reserve(std::min(expected, kMostBytes));
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
    require(bytes.size() <= kMostBytes && expected <= kMostBytes, path.string(), ": expected a file of at most ",
            kMostBytes, " bytes, found ", std::max(expected, bytes.size()), " and more; is it the right file?");
  }
}

AtomicFile::AtomicFile(fs::path target) : name_(std::move(target)), target_(name_) {
  struct stat status {};
  if (::stat(name_.c_str(), &status) != 0) {
    require(errno == ENOENT, name_.string(), ": cannot be written: ", system_reason());
    target_ = without_links(name_);
    open_temporary();
    return;
  }
  const int stream = S_ISREG(status.st_mode) ? standard_stream_of(status) : -1;
  if (S_ISREG(status.st_mode) && stream < 0) {
    require(::access(name_.c_str(), W_OK) == 0, name_.string(), ": cannot be written: ", system_reason());
    target_ = without_links(name_);
    open_temporary();
    // The owner first: a change of the owner takes set-user-ID bits away.
    [[maybe_unused]] const int owned = ::fchown(descriptor_, status.st_uid, status.st_gid);
    ::fchmod(descriptor_, status.st_mode & 07777U);
    return;
  }
  // Pipes are opened by the first write: a program that only tries its target must not end the reader's input.
  if (!S_ISFIFO(status.st_mode)) {
    FileDescriptor file = stream < 0 ? open_for_writing(name_, 0) : FileDescriptor(::fcntl(stream, F_DUPFD_CLOEXEC, 0));
    require(file.get() >= 0, name_.string(), ": cannot be written: ", system_reason());
    descriptor_ = file.release();
  }
}

void AtomicFile::open_temporary() {
  // Several writers of one target, in this process or others, need different names.
  static std::atomic<uint64_t> counter{0};
  temporary_ = target_;
  temporary_ += concat(".tmp.", ::getpid(), ".", counter++);
  ::unlink(temporary_.c_str());  // of a killed process that had this number; never written through, it may be a link
  descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  require(descriptor_ >= 0, name_.string(), ": cannot be written: ", system_reason());
}

AtomicFile::~AtomicFile() {
  if (descriptor_ >= 0) {
    ::close(descriptor_);
    if (!temporary_.empty()) {
      ::unlink(temporary_.c_str());
    }
  }
}

void AtomicFile::write(std::string_view bytes) {
  write(bytes.data(), bytes.size());
}

void AtomicFile::write(const void* data, size_t size) {
  if (descriptor_ < 0) {
    descriptor_ = open_for_writing(name_, 0).release();
  }
  const std::string_view bytes(static_cast<const char*>(data), size);
  const bool is_written = temporary_.empty() ? write_all(descriptor_, bytes) : write_all(descriptor_, bytes, size_);
  require(is_written, name_.string(), ": cannot be written: ", system_reason());
  size_ += size;
}

void AtomicFile::commit(bool to_disk) {
  if (temporary_.empty()) {
    const int closed = descriptor_ < 0 ? 0 : ::close(std::exchange(descriptor_, -1));
    require(closed == 0, name_.string(), ": cannot be written: ", system_reason());
    return;
  }
  if (to_disk && ::fsync(descriptor_) != 0) {  // errno must be read after this call, not in the same argument list
    fail(name_.string(), ": cannot be written: ", system_reason());
  }
  const int closed = ::close(std::exchange(descriptor_, -1));
  if (closed != 0 || ::rename(temporary_.c_str(), target_.c_str()) != 0) {
    const std::string reason = system_reason();
    ::unlink(temporary_.c_str());
    fail(name_.string(), ": cannot be written: ", reason);
  }
  if (to_disk) {
    sync_folder(target_.parent_path());
  }
}

void write_file_atomically(const fs::path& path, std::string_view bytes) {
  AtomicFile file(path);
  file.write(bytes);
  file.commit();
}

void append_to_file(const fs::path& path, std::string_view bytes) {
  const FileDescriptor file = open_for_writing(path, O_APPEND | O_CREAT);
  const bool is_written = write_all(file.get(), bytes);
  require(is_written, path.string(), ": cannot be written: ", system_reason());
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
    if (is_temporary && entry.symlink_status(ignored).type() == fs::file_type::regular &&
        (process == ::getpid() || (::kill(process, 0) != 0 && errno == ESRCH))) {
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
  const FileDescriptor file = open_file(path, O_RDONLY);
  struct stat status {};
  require(::fstat(file.get(), &status) == 0, path.string(), ": cannot be read: ", system_reason());
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
