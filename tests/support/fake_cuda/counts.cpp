#include "counts.h"

#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>

#include "memory.h"

namespace fake_cuda {
namespace {

/// The operation that ends a step, for instance fused Adam; empty: none.
const std::string& mark_name() {
  static const char* text = std::getenv("FAKE_CUDA_MARK");
  static const std::string name = text == nullptr ? "" : text;
  return name;
}

int64_t sum_of(const std::map<std::string, int64_t>& counts) {
  int64_t sum = 0;
  for (const auto& [name, count] : counts) {
    sum += count;
  }
  return sum;
}

void refuse_if_strict(const std::string& what) {
  static const bool strict = setting("FAKE_CUDA_STRICT", 0) != 0;
  TORCH_CHECK(!strict, "make-believe CUDA: ", what, ", while cuda:", static_cast<int>(current_device()),
              " is the current device of the thread");
}

}  // namespace

int64_t setting(const char* name, int64_t fallback) {
  const char* text = std::getenv(name);
  return text == nullptr || *text == '\0' ? fallback : std::atoll(text);
}

c10::DeviceIndex device_count() {
  static const auto count =
      static_cast<c10::DeviceIndex>(std::clamp<int64_t>(setting("FAKE_CUDA_DEVICES", 2), 0, kMostDevices));
  return count;
}

c10::DeviceIndex& current_device() {
  thread_local c10::DeviceIndex device = 0;
  return device;
}

Counts& Counts::get() {
  static Counts* counts = new Counts;  // never destroyed: threads may count while the process ends
  return *counts;
}

void Counts::operation(const std::string& name, c10::DeviceIndex device) {
  const std::lock_guard guard(mutex_);
  ++operations_[name];
  ++started_[device];
  if (name == mark_name()) {
    marks_.emplace_back(operations_, waits_);
  }
  if (device != current_device()) {
    ++misplaced_[name];
    refuse_if_strict(name + " of cuda:" + std::to_string(device));
  }
}

void Counts::misplaced(const std::string& name) {
  const std::lock_guard guard(mutex_);
  ++misplaced_[name];
  refuse_if_strict(name);
}

void Counts::wait(const std::string& name) {
  const std::lock_guard guard(mutex_);
  ++waits_[name];
}

void Counts::race(const std::string& name) {
  const std::lock_guard guard(mutex_);
  ++races_[name];
}

void Counts::note(const std::string& name) {
  const std::lock_guard guard(mutex_);
  ++notes_[name];
}

void Counts::allocation() {
  const std::lock_guard guard(mutex_);
  ++allocations_;
}

void Counts::copied(bool to_device, size_t bytes) {
  const std::lock_guard guard(mutex_);
  (to_device ? bytes_to_device_ : bytes_to_host_) += static_cast<int64_t>(bytes);
}

int64_t Counts::started(c10::DeviceIndex device) {
  const std::lock_guard guard(mutex_);
  return started_[device];
}

int64_t Counts::operations() {
  const std::lock_guard guard(mutex_);
  return sum_of(operations_);
}

int64_t Counts::waits() {
  const std::lock_guard guard(mutex_);
  return sum_of(waits_);
}

int64_t Counts::misplaced() {
  const std::lock_guard guard(mutex_);
  return sum_of(misplaced_);
}

int64_t Counts::races() {
  const std::lock_guard guard(mutex_);
  return sum_of(races_);
}

void Counts::write_report() {
  const char* path = std::getenv("FAKE_CUDA_REPORT");
  if (path == nullptr) {
    return;
  }
  const std::lock_guard guard(mutex_);
  std::ofstream out(path);
  const auto write = [&](const char* kind, const std::map<std::string, int64_t>& counts) {
    for (const auto& [name, count] : counts) {
      out << kind << ' ' << count << ' ' << name << '\n';
    }
    out << "sum_" << kind << ' ' << sum_of(counts) << '\n';
  };
  write("operation", operations_);
  write("wait", waits_);
  write("misplaced", misplaced_);
  write("race", races_);
  write("note", notes_);
  for (size_t i = 0; i < marks_.size(); ++i) {
    for (const auto& [name, count] : marks_[i].first) {
      out << "mark" << i << ".operation " << count << ' ' << name << '\n';
    }
    for (const auto& [name, count] : marks_[i].second) {
      out << "mark" << i << ".wait " << count << ' ' << name << '\n';
    }
  }
  out << "allocations " << allocations_ << "\nbytes_to_device " << bytes_to_device_ << "\nbytes_to_host "
      << bytes_to_host_ << '\n';
  for (c10::DeviceIndex device = 0; device < device_count(); ++device) {
    out << "peak_bytes_" << static_cast<int>(device) << ' ' << DeviceMemory::get().peak(device) << '\n';
  }
}

}  // namespace fake_cuda
