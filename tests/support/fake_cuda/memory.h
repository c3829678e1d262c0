// Memory of the make-believe cards, and page-locked host memory.
#pragma once
#include <c10/core/CachingDeviceAllocator.h>

#include <map>
#include <mutex>
#include <vector>

#include "counts.h"
#include "races.h"

namespace fake_cuda {

/// The allocator of the cards. An address that it hands out faults when it is touched; the numbers lie at
/// host(address). New memory is filled with NaN. FAKE_CUDA_FAIL_ALLOCATION=N makes the N-th allocation of the process
/// (from 1) fail, FAKE_CUDA_MEMORY=BYTES limits each card; both throw c10::OutOfMemoryError like PyTorch's allocator.
class DeviceMemory final : public c10::DeviceAllocator {
 public:
  static DeviceMemory& get();

  c10::DataPtr allocate(size_t size) override;
  c10::DeleterFnPtr raw_deleter() const override { return &drop; }
  void copy_data(void* to, const void* from, std::size_t count) const override;
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr& data, c10::Stream stream) override { memory_is_used_by(data.get(), stream); }
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex device) override;
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex device) override;
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex device) override;

  /// Makes the N-th allocation from now on fail, from 1; 0: none.
  void fail_after(int64_t allocations);
  /// Where the numbers of a card's address lie.
  char* host(const void* place) const { return host_ + (static_cast<const char*>(place) - device_); }
  size_t peak(c10::DeviceIndex device);

 private:
  DeviceMemory();
  static void drop(void* place);
  void release(char* place);
  char* take(size_t size, c10::DeviceIndex device);
  void refuse_if_asked(size_t size, c10::DeviceIndex device);

  char *host_ = nullptr, *device_ = nullptr;
  std::mutex mutex_;
  size_t used_ = 0;
  int64_t until_failure_ = setting("FAKE_CUDA_FAIL_ALLOCATION", 0);
  std::map<size_t, std::vector<char*>> free_;
  std::map<char*, std::pair<size_t, c10::DeviceIndex>> sizes_;
  size_t live_[kMostDevices] = {}, peak_[kMostDevices] = {};
};

/// Page-locked host memory: ordinary memory whose addresses are known.
class PinnedMemory final : public c10::Allocator {
 public:
  static PinnedMemory& get();

  c10::DataPtr allocate(size_t size) override;
  c10::DeleterFnPtr raw_deleter() const override { return &drop; }
  void copy_data(void* to, const void* from, std::size_t count) const override;
  bool owns(const void* pointer);

 private:
  static void drop(void* place);

  std::mutex mutex_;
  std::map<char*, size_t> places_;
};

}  // namespace fake_cuda
