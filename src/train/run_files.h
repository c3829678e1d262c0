#pragma once

#include <filesystem>

#include "minimind/train/options.h"
#include "train/adam.h"
#include "train/checkpoint_folder.h"
#include "train/precision.h"
#include "train/setup.h"

namespace minimind {

/// What a run writes down of itself. The references outlive it.
struct RunState {
  const TrainOptions& options;
  Stage stage;
  const TrainingSetup& setup;
  const Adam& adam;
  const LossScaler& scaler;
  int64_t world_size = 1;
};

/// Everything that the run needs to go on from `position`; `is_doubtful` as in CheckpointFolder::save(). Throws Error;
/// the older checkpoints stand then.
void save_run_checkpoint(const RunState& run, const TrainingPosition& position, CheckpointFolder& folder,
                         bool is_doubtful);

/// `OUT_DIR/{stem}.pth` and the configuration beside it, each replaced whole. Throws Error.
void save_run_weights(const RunState& run);

}  // namespace minimind
