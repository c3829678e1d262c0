#pragma once

#include <filesystem>

namespace minimind {

/// Keeps two runs from writing into one folder: locks `FOLDER/.lock` while the object lives. The system releases the
/// lock when the process ends, however it ends.
class RunLock {
 public:
  /// Also removes the half-written files of a killed run. Throws Error with the process that holds the lock.
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace minimind
