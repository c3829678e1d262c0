#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Device.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace minimind {

/// Records the bytes of all tensors that were allocated on a device since the trace began, after each allocation event.
class AllocationTrace {
 public:
  /// Traces this thread and its backward passes while the object lives.
  explicit AllocationTrace(const c10::Device& device);
  ~AllocationTrace();
  AllocationTrace(const AllocationTrace&) = delete;
  AllocationTrace& operator=(const AllocationTrace&) = delete;

  /// The values since the last call. The next value counts from the memory that is live now.
  std::vector<int64_t> take();

 private:
  class Listener;
  std::shared_ptr<Listener> listener_;
  std::optional<c10::DebugInfoGuard> guard_;
};

/// Predicts peak memory at batch size `samples`: extrapolates each allocation event linearly from two traces. If the
/// traces differ in length, extrapolates their maxima.
int64_t extrapolated_peak(const std::vector<int64_t>& a, int64_t samples_a, const std::vector<int64_t>& b,
                          int64_t samples_b, int64_t samples);

}  // namespace minimind
