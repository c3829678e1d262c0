#pragma once

#include <c10/core/Device.h>
#include <c10/util/ThreadLocalDebugInfo.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/train/options.h"
#include "train/setup.h"

namespace minimind {

/// Records the bytes of all tensors that were allocated on a device since the trace began, after each allocation event.
class AllocationTrace {
 public:
  /// Traces this thread and its backward passes while the object lives.
  explicit AllocationTrace(const c10::Device& device);
  /// The values since the last call. The next value counts from the memory that is live now.
  std::vector<int64_t> take();

 private:
  class Listener;
  std::shared_ptr<Listener> listener_;
  c10::DebugInfoGuard guard_;
};

/// Predicts peak memory at batch size `samples`: extrapolates each allocation event linearly from two traces. If the
/// traces differ in length, extrapolates their maxima.
int64_t extrapolated_peak(const std::vector<int64_t>& a, int64_t samples_a, const std::vector<int64_t>& b,
                          int64_t samples_b, int64_t samples);

/// How many images keep their features in memory (--feature_memory_mb): see feature_rows().
int64_t kept_images(const TrainOptions& options, const TrainingSetup& setup);

/// Upper bounds of the memory of one process, in bytes: on a CPU all of its memory, on a GPU its tensors.
struct MemoryPlan {
  struct Row {
    int64_t batch_size = 0;
    int64_t activations = 0;  ///< peak of a step beyond the gradients
    int64_t allocator = 0;    ///< freed memory that the C library keeps (CPU); measured: a quarter of a step's memory
    int64_t loader = 0;       ///< finished batches and batches in work
    int64_t peak = 0;         ///< sum of all parts
  };
  int64_t weights = 0;
  int64_t gradients = 0;
  int64_t adam = 0;
  int64_t saving = 0;  ///< the copy that is written while training goes on; on a GPU in memory of the host, in no sum
  int64_t encoder = 0;
  int64_t features = 0;  ///< kept in memory (--feature_memory_mb)
  int64_t program = 0;   ///< libraries, data set and all else
  int64_t tokens = 0;    ///< of the longest sample
  bool on_gpu = false;
  std::vector<Row> rows;
};

/// Measures steps on the longest samples at two small batch sizes and extrapolates to other sizes. All ranks call it
/// together. It changes the weights: do not train with them afterwards.
MemoryPlan make_plan(const TrainOptions& options, Stage stage, TrainingSetup& setup, ProcessGroup& group);

/// The plan as a table; marks the chosen batch size.
std::string plan_table(const MemoryPlan& plan, int64_t chosen_batch_size);

}  // namespace minimind
