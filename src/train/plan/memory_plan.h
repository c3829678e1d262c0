#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "minimind/train/options.h"
#include "train/setup.h"

namespace minimind {

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

/// Makes the plan; rank 0 prints it to stdout.
void plan_memory(const TrainOptions& options, Stage stage, TrainingSetup& setup, ProcessGroup& group);

}  // namespace minimind
