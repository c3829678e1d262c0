#pragma once

#include <filesystem>

namespace minimind {

/// Keeps two runs from writing into one folder: a lock on `FOLDER/.lock` for as long as the object lives. The system
/// drops it when the process dies, however it does.
class RunLock {
 public:
  /// Throws Error that names the process that has it.
  explicit RunLock(const std::filesystem::path& folder);
  ~RunLock();
  RunLock(const RunLock&) = delete;
  RunLock& operator=(const RunLock&) = delete;

 private:
  int descriptor_ = -1;
};

}  // namespace minimind
