#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/train/options.h"
#include "train/setup.h"

namespace minimind {

/// What one process of a run will need at most, in bytes: on a CPU all of its memory, on a GPU what its tensors take
/// there.
struct MemoryPlan {
  struct Row {
    int64_t batch_size = 0;
    int64_t activations = 0;  ///< what a step holds at its peak beyond the gradients
    int64_t allocator = 0;    ///< freed memory that the C library keeps (CPU): a quarter of what a step holds, measured
    int64_t loader = 0;       ///< batches that wait, and those being made
    int64_t peak = 0;         ///< everything
  };
  int64_t weights = 0;
  int64_t gradients = 0;
  int64_t adam = 0;
  int64_t encoder = 0;
  int64_t features = 0;  ///< of images kept for later epochs (--feature_memory_mb)
  int64_t program = 0;   ///< libraries, data set and what else is there
  int64_t tokens = 0;    ///< of the longest sample, by which the rows go
  bool on_gpu = false;
  std::vector<Row> rows;
};

/// Measures a step on the longest samples at two small batch sizes and concludes from them on the others. All ranks
/// call it together. The weights are changed: nothing may be trained with them afterwards.
MemoryPlan make_plan(const TrainOptions& options, Stage stage, TrainingSetup& setup, ProcessGroup& group);

/// As a table for people.
std::string plan_table(const MemoryPlan& plan, int64_t chosen_batch_size);

/// make_plan(), printed by rank 0.
void plan_memory(const TrainOptions& options, Stage stage, TrainingSetup& setup, ProcessGroup& group);

}  // namespace minimind
