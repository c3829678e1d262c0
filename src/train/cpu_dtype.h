#pragma once

#include <string>

#include "dist/process_group.h"
#include "minimind/train/options.h"
#include "train/checkpoint.h"

namespace minimind {

/// The dtype of --dtype for this run on this machine. On a CPU, bfloat16 becomes float32 if bfloat16 products do not
/// pay (bfloat16_products()): float32 products are more exact, so nothing is rounded without a gain. A run keeps its
/// dtype: a checkpoint that was written with the same --dtype decides, else rank 0. Logs the choice. All ranks call it
/// together.
std::string dtype_on_this_cpu(const TrainOptions& options, ProcessGroup& group, const Checkpoint* checkpoint);

/// The dtype of a run that continues from a checkpoint. `kept`: the dtype in which that run multiplies. `own`: the
/// choice of this machine. Logs a difference.
std::string kept_dtype(const std::string& kept, const std::string& own);

}  // namespace minimind
