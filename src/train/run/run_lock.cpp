#include "train/run/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/train/options.h"

namespace minimind {
namespace {

/// `process 123 on host`, for messages.
std::string process_name() {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return concat("process ", ::getpid(), " on ", host);
}

/// The name serves messages alone: a process that cannot write it still has the lock.
void write_holder(int descriptor, const std::string& holder) {
  const bool is_written =
      ::ftruncate(descriptor, 0) == 0 && ::pwrite(descriptor, holder.data(), holder.size(), 0) == std::ssize(holder);
  static_cast<void>(is_written);
}

/// Removes the files that a killed process was writing; they may be as large as the weights.
void remove_half_written_files(const std::filesystem::path& folder) {
  remove_stale_temporaries(folder);
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    if (entry.is_directory() && entry.path().filename().string().ends_with(kCheckpointFolderEnd)) {
      remove_stale_temporaries(entry.path());
    }
  }
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / ".lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0 && errno == EACCES) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // the file of another user in a shared folder
  }
  if (descriptor_ < 0) {
    const std::string reason = std::strerror(errno);
    fail(path.string(), ": cannot be written: ", reason, "; choose another --out_dir");
  }
  int result = 0;
  do {
    result = ::flock(descriptor_, LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) {
    write_holder(descriptor_, process_name());
    remove_half_written_files(folder);
    return;
  }
  if (const int error = errno; error != EWOULDBLOCK) {
    // A network file system locks only files that the user may write.
    require(error != EBADF, path.string(),
            ": expected a lock file that this user may write, found a file of another user; choose another --out_dir");
    log_warning(
        concat(path.string(), ": cannot be locked: ", std::strerror(error), "; start no second run in this folder"));
    return;
  }
  ::close(descriptor_);
  fail(folder.string(), ": expected no other run in this folder, found that ", read_file(path),
       " trains here; wait for its end, or choose another --out_dir");
}

RunLock::~RunLock() {
  ::close(descriptor_);
}

}  // namespace minimind
