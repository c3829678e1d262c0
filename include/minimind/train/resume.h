#pragma once

#include <optional>

#include "minimind/train/checkpoint.h"
#include "minimind/train/options.h"
#include "minimind/train/setup.h"

namespace minimind {

/// The checkpoint that --resume names; none where it is `none`, or `auto` and there is none to go on from. Throws Error
/// where a named one is missing, or where `auto` finds runs of several widths.
std::optional<Checkpoint> find_checkpoint(const TrainOptions& options, Stage stage);

/// Throws Error where the run cannot go on from `checkpoint`: another stage, other data, another order of the data.
void check_resumable(const Checkpoint& checkpoint, const TrainOptions& options, Stage stage,
                     const TrainingSetup& setup);

}  // namespace minimind
