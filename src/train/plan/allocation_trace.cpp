#include "train/plan/allocation_trace.h"

#include <algorithm>
#include <mutex>
#include <utility>

namespace minimind {

class AllocationTrace::Listener : public c10::MemoryReportingInfoBase {
 public:
  explicit Listener(const c10::Device& device) : type_(device.type()) {}

  void reportMemoryUsage(void* /*pointer*/, int64_t size, size_t /*total_allocated*/, size_t /*total_reserved*/,
                         c10::Device device) override {
    if (device.type() == type_) {
      const std::lock_guard guard(mutex_);
      live_ += size;
      values_.push_back(live_);
    }
  }
  bool memoryProfilingEnabled() const override { return true; }

  std::vector<int64_t> take() {
    const std::lock_guard guard(mutex_);
    live_ = 0;
    return std::exchange(values_, {});
  }

 private:
  c10::DeviceType type_;
  std::mutex mutex_;
  int64_t live_ = 0;
  std::vector<int64_t> values_;
};

AllocationTrace::AllocationTrace(const c10::Device& device) : listener_(std::make_shared<Listener>(device)) {
  guard_.emplace(c10::DebugInfoKind::PROFILER_STATE, listener_);
}

AllocationTrace::~AllocationTrace() = default;

std::vector<int64_t> AllocationTrace::take() {
  return listener_->take();
}

int64_t extrapolated_peak(const std::vector<int64_t>& a, int64_t samples_a, const std::vector<int64_t>& b,
                          int64_t samples_b, int64_t samples) {
  const double part = static_cast<double>(samples - samples_a) / static_cast<double>(samples_b - samples_a);
  const auto between = [&](int64_t at_a, int64_t at_b) {
    return at_a + static_cast<int64_t>(part * static_cast<double>(at_b - at_a));
  };
  if (a.empty() || b.empty()) {
    return 0;
  }
  if (a.size() != b.size()) {
    return between(*std::max_element(a.begin(), a.end()), *std::max_element(b.begin(), b.end()));
  }
  int64_t peak = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    peak = std::max(peak, between(a[i], b[i]));
  }
  return peak;
}

}  // namespace minimind
