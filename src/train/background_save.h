#pragma once

#include <c10/core/Device.h>

#include <functional>
#include <future>

#include "base/stopwatch.h"
#include "minimind/io/state_dict.h"

namespace minimind {

/// The tensors of a save: those of a checkpoint, and those of the weights file.
struct SavedTensors {
  StateDict checkpoint;
  StateDict weights;
};

/// Copies in host memory, for a GPU in pinned memory with one wait. Tensors that share their data share their copy. No
/// two other copies share a storage: `.pth` files hold whole storages.
SavedTensors copy_to_host(const SavedTensors& live, const c10::Device& device);

/// Writes the files of a run in a thread of its own while training goes on, one save at a time. An error of the thread
/// reaches the training thread in its next call. One thread makes all calls.
class BackgroundSave {
 public:
  using Write = std::function<void(const SavedTensors&)>;

  /// `minutes`: from the start of one save to the next one by time; 0: none by time. `device`: place of the tensors.
  BackgroundSave(double minutes, c10::Device device) : minutes_(minutes), device_(device) {}
  /// Waits for the save. Logs its error if nobody has got it.
  ~BackgroundSave();
  BackgroundSave(const BackgroundSave&) = delete;
  BackgroundSave& operator=(const BackgroundSave&) = delete;

  /// Whether a save by time is due; not while another one is written. Throws the error of a save that has failed.
  bool is_due();
  /// Waits for the save before, copies the tensors and writes the copies in the thread. Throws the earlier error.
  void start(const SavedTensors& live, Write write);
  /// Waits for the save before and writes in this thread; tensors of a CPU without copying them.
  void write_now(const SavedTensors& live, const Write& write);
  /// Waits for the thread. Throws its error.
  void wait();
  /// Seconds that the training thread has spent in start() and wait() so far.
  double waited_seconds() const { return waited_seconds_; }

 private:
  double minutes_;
  c10::Device device_;
  Stopwatch since_start_;
  double waited_seconds_ = 0;
  std::future<void> thread_;  // valid while a save is written, and until its outcome is known
};

}  // namespace minimind
