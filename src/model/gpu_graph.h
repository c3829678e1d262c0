#pragma once

#include <c10/core/Device.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

namespace minimind {

/// Kernels that were recorded and can be started together.
class RecordedWork {
 public:
  virtual ~RecordedWork() = default;
  /// Starts them on the current stream.
  virtual void replay() = 0;
};

/// Records the kernels that `work` starts, without running them. Throws if that fails.
using Recorder = std::function<std::unique_ptr<RecordedWork>(const std::function<void()>& work)>;

/// Records CUDA graphs on the device. Empty for a CPU and in a build without CUDA.
Recorder graph_recorder(const c10::Device& device);

/// Work that is repeated on tensors at fixed places. The first two times it runs as it is, so that libraries have
/// allocated and compiled what they need. Then it is recorded, and from there on replayed.
class RepeatedWork {
 public:
  /// `recorder`: empty: the work always runs as it is. `most`: recordings; others run as they are. `purpose`: for the
  /// warning after a failed recording, after which all work runs as it is.
  RepeatedWork(Recorder recorder, size_t most, std::string purpose);
  /// `key`: work with one key starts the same kernels on the same memory each time.
  void run(int64_t key, const std::function<void()>& work);
  /// Recordings so far.
  size_t recordings() const { return recorded_.size(); }

 private:
  bool record(int64_t key, const std::function<void()>& work);

  Recorder recorder_;
  size_t most_;
  std::string purpose_;
  std::map<int64_t, int64_t> runs_;  ///< as it is
  std::map<int64_t, std::unique_ptr<RecordedWork>> recorded_;
};

}  // namespace minimind
