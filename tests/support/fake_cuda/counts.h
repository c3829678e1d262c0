// What happened on the make-believe cards: operations, waits of the host, allocations, bytes. See README.md of this
// folder.
#pragma once
#include <c10/core/Device.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace fake_cuda {

/// Most cards that FAKE_CUDA_DEVICES may ask for.
constexpr c10::DeviceIndex kMostDevices = 8;

/// Number of cards: FAKE_CUDA_DEVICES, 2 by default.
c10::DeviceIndex device_count();

/// The number in the environment variable NAME, or the fallback.
int64_t setting(const char* name, int64_t fallback);

/// The thread's current card.
c10::DeviceIndex& current_device();

/// All counts of the process; FAKE_CUDA_REPORT names the file that receives them at the end.
class Counts {
 public:
  static Counts& get();

  /// An operation was started on a card. Counts it as misplaced as well if another card is the current one.
  void operation(const std::string& name, c10::DeviceIndex device);
  /// A call that works only after another card was made the current one.
  void misplaced(const std::string& name);
  /// The host waited for the card.
  void wait(const std::string& name);
  /// Two streams do work that nothing puts in order.
  void race(const std::string& name);
  /// Something that is neither an operation nor a wait, for instance a copy on a side stream.
  void note(const std::string& name);
  void allocation();
  void copied(bool to_device, size_t bytes);

  /// Operations that were started on a card so far.
  int64_t started(c10::DeviceIndex device);
  /// Sums over all names.
  int64_t operations();
  int64_t waits();
  int64_t misplaced();
  int64_t races();
  void write_report();

 private:
  using Names = std::map<std::string, int64_t>;

  std::mutex mutex_;
  Names operations_, waits_, misplaced_, races_, notes_;
  std::vector<std::pair<Names, Names>> marks_;  // operations and waits at each operation named by FAKE_CUDA_MARK
  int64_t started_[kMostDevices] = {};
  int64_t allocations_ = 0, bytes_to_device_ = 0, bytes_to_host_ = 0;
};

}  // namespace fake_cuda
