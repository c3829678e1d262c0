#include "train/run_lock.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"

namespace minimind {
namespace {

/// `process 123 on host`; for messages alone.
std::string this_process() {
  char host[256] = {};
  ::gethostname(host, sizeof(host) - 1);
  return concat("process ", ::getpid(), " on ", host);
}

/// A short line: whoever cannot write it still has the lock.
void write_holder(int descriptor, const std::string& holder) {
  const bool is_written =
      ::ftruncate(descriptor, 0) == 0 && ::pwrite(descriptor, holder.data(), holder.size(), 0) == std::ssize(holder);
  static_cast<void>(is_written);
}

}  // namespace

RunLock::RunLock(const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / ".lock";
  descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
  if (descriptor_ < 0 && errno == EACCES) {
    descriptor_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);  // another user's, in a folder that is shared
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
    write_holder(descriptor_, this_process());
    return;
  }
  if (const int error = errno; error != EWOULDBLOCK) {
    // A file system of the network locks only what may be written.
    require(error != EBADF, path.string(), ": expected a lock that this user may write, found another user's; choose ",
            "another --out_dir");
    log_warning(
        concat(path.string(), ": cannot be locked: ", std::strerror(error), "; start no second run in this folder"));
    return;
  }
  ::close(descriptor_);
  fail(folder.string(), ": expected to be the only run in this folder, found that ", read_file(path),
       " trains there; wait for its end, or choose another --out_dir");
}

RunLock::~RunLock() {
  ::close(descriptor_);
}

}  // namespace minimind
