#include "train/speed.h"

#include <ATen/DeviceAccelerator.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

namespace minimind {

double peak_memory_mb() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) * 1024 / 1e6;
}

double resident_memory_mb() {
  // Pages in all, then resident ones.
  std::ifstream input("/proc/self/statm");
  double all = 0, resident = 0;
  input >> all >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE)) / 1e6;
}

std::optional<double> peak_device_memory_mb(const c10::Device& device) {
  if (device.is_cpu()) {
    return std::nullopt;
  }
  constexpr auto kAll = static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE);
  return static_cast<double>(at::accelerator::getDeviceStats(device.index()).allocated_bytes[kAll].peak) / 1e6;
}

}  // namespace minimind
