#include "memory.h"

#include <c10/util/Exception.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <tuple>

namespace fake_cuda {
namespace {

constexpr size_t kArena = size_t{32} << 30;  // bytes of address space; all cards share it

char* reserve(int protection) {
  void* place = mmap(nullptr, kArena, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  TORCH_CHECK(place != MAP_FAILED, "make-believe CUDA: expected 32 GiB of address space, found less");
  return static_cast<char*>(place);
}

size_t card_size() {
  static const auto size = static_cast<size_t>(setting("FAKE_CUDA_MEMORY", static_cast<int64_t>(kArena)));
  return size;
}

}  // namespace

DeviceMemory& DeviceMemory::get() {
  static DeviceMemory* memory = new DeviceMemory;  // never destroyed: tensors may outlive it
  return *memory;
}

DeviceMemory::DeviceMemory() : host_(reserve(PROT_READ | PROT_WRITE)), device_(reserve(PROT_NONE)) {}

void DeviceMemory::refuse_if_asked(size_t size, c10::DeviceIndex device) {
  const bool asked = until_failure_ > 0 && --until_failure_ == 0;
  const bool full = live_[device] + size > card_size() || used_ + size > kArena;
  TORCH_CHECK_WITH(OutOfMemoryError, !asked && !full, "CUDA out of memory. Tried to allocate ", size, " bytes. GPU ",
                   static_cast<int>(device), " has a total capacity of ", card_size(), " bytes of which ",
                   card_size() - std::min(card_size(), live_[device]), " bytes is free.");
}

void DeviceMemory::fail_after(int64_t allocations) {
  const std::lock_guard guard(mutex_);
  until_failure_ = allocations;
}

char* DeviceMemory::take(size_t size, c10::DeviceIndex device) {
  const std::lock_guard guard(mutex_);
  refuse_if_asked(size, device);
  std::vector<char*>& list = free_[size];
  char* place = device_ + used_;
  if (list.empty()) {
    used_ += size;
  } else {
    place = list.back();
    list.pop_back();
  }
  sizes_[place] = {size, device};
  live_[device] += size;
  peak_[device] = std::max(peak_[device], live_[device]);
  return place;
}

c10::DataPtr DeviceMemory::allocate(size_t size) {
  const c10::Device device(c10::kCUDA, current_device());
  if (size == 0) {
    return {nullptr, nullptr, &drop, device};
  }
  const size_t rounded = (size + 511) / 512 * 512;
  char* place = take(rounded, device.index());
  Counts::get().allocation();
  memory_begins(place, device.index());
  std::memset(host(place), 0xFF, rounded);  // NaN, or indices out of range
  c10::reportMemoryUsageToProfiler(place, static_cast<int64_t>(rounded), live_[device.index()], used_, device);
  return {place, place, &drop, device};
}

void DeviceMemory::release(char* place) {
  memory_ends(place);
  size_t size = 0;
  c10::DeviceIndex device = 0;
  {
    const std::lock_guard guard(mutex_);
    std::tie(size, device) = sizes_.at(place);
    sizes_.erase(place);
    free_[size].push_back(place);
    live_[device] -= size;
  }
  c10::reportMemoryUsageToProfiler(place, -static_cast<int64_t>(size), live_[device], used_, {c10::kCUDA, device});
}

void DeviceMemory::drop(void* place) {
  if (place != nullptr) {
    get().release(static_cast<char*>(place));
  }
}

void DeviceMemory::copy_data(void* to, const void* from, std::size_t count) const {
  std::memmove(host(to), host(from), count);
}

c10::CachingDeviceAllocator::DeviceStats DeviceMemory::getDeviceStats(c10::DeviceIndex device) {
  const std::lock_guard guard(mutex_);
  c10::CachingDeviceAllocator::DeviceStats stats;
  stats.allocated_bytes[0].peak = static_cast<int64_t>(peak_[device]);
  stats.allocated_bytes[0].current = static_cast<int64_t>(live_[device]);
  return stats;
}

void DeviceMemory::resetPeakStats(c10::DeviceIndex device) {
  const std::lock_guard guard(mutex_);
  peak_[device] = live_[device];
}

std::pair<size_t, size_t> DeviceMemory::getMemoryInfo(c10::DeviceIndex device) {
  const std::lock_guard guard(mutex_);
  return {card_size() - std::min(card_size(), live_[device]), card_size()};
}

size_t DeviceMemory::peak(c10::DeviceIndex device) {
  const std::lock_guard guard(mutex_);
  return peak_[device];
}

PinnedMemory& PinnedMemory::get() {
  static PinnedMemory* memory = new PinnedMemory;  // never destroyed, as above
  return *memory;
}

c10::DataPtr PinnedMemory::allocate(size_t size) {
  char* place = static_cast<char*>(std::aligned_alloc(64, (size + 64) / 64 * 64));
  TORCH_CHECK(place != nullptr, "make-believe CUDA: no page-locked memory left");
  const std::lock_guard guard(mutex_);
  places_[place] = size;
  return {place, place, &drop, c10::kCPU};
}

void PinnedMemory::copy_data(void* to, const void* from, std::size_t count) const {
  std::memcpy(to, from, count);
}

bool PinnedMemory::owns(const void* pointer) {
  const auto* place = static_cast<const char*>(pointer);
  const std::lock_guard guard(mutex_);
  const auto next = places_.upper_bound(const_cast<char*>(place));
  return next != places_.begin() && place < std::prev(next)->first + std::max<size_t>(std::prev(next)->second, 1);
}

void PinnedMemory::drop(void* place) {
  {
    const std::lock_guard guard(get().mutex_);
    get().places_.erase(static_cast<char*>(place));
  }
  std::free(place);
}

}  // namespace fake_cuda
