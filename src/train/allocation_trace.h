#pragma once

#include <c10/core/Allocator.h>
#include <c10/core/Device.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace minimind {

/// Bytes of the tensors that were made on a device since the trace began, after each time that one was made or freed.
class AllocationTrace {
 public:
  /// Follows this thread, and the backward passes that it starts, while the object lives.
  explicit AllocationTrace(const c10::Device& device);
  ~AllocationTrace();
  AllocationTrace(const AllocationTrace&) = delete;
  AllocationTrace& operator=(const AllocationTrace&) = delete;

  /// The values since the last call, which begins anew at what is live now.
  std::vector<int64_t> take();

 private:
  class Listener;
  std::shared_ptr<Listener> listener_;
  std::optional<c10::DebugInfoGuard> guard_;
};

/// The highest of a trace for `rows` rows, from traces of the same program with `rows_a` and `rows_b` rows: each value
/// grows evenly with the rows. Where the traces are not equally long, their highest values are taken to do so.
int64_t extrapolated_peak(const std::vector<int64_t>& a, int64_t rows_a, const std::vector<int64_t>& b, int64_t rows_b,
                          int64_t rows);

}  // namespace minimind
