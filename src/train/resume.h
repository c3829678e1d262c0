#pragma once

#include <filesystem>
#include <optional>

#include "dist/process_group.h"
#include "minimind/train/options.h"
#include "train/checkpoint.h"
#include "train/setup.h"

namespace minimind {

/// The checkpoint that --resume names; none where it is `none`, or `auto` and there is none to go on from. Throws Error
/// where a named one is missing, or where `auto` finds runs of several widths or kinds. With `times`, `auto`
/// takes those of earlier attempts of this run alone.
std::optional<Checkpoint> find_checkpoint(const TrainOptions& options, Stage stage,
                                          const std::optional<AttemptTimes>& times = {});

/// What rank 0 finds, on all ranks: the others may be on hosts that do not have its files. After a restart by the
/// launcher a run goes on from its own checkpoints, where it has written some: not from those of an earlier run in the
/// folder, and not from the start or the --resume PATH that it began with.
std::optional<Checkpoint> agreed_checkpoint(const TrainOptions& options, Stage stage, ProcessGroup& group);

/// Throws Error where OUT_DIR has weights or checkpoints of this stage and shape that a run from its beginning, or from
/// the checkpoint `resumed` of another folder, would replace, unless --overwrite allows it.
void check_nothing_is_replaced(const TrainOptions& options, Stage stage, const LmConfig& config,
                               const std::filesystem::path& resumed = {});

/// Throws Error where the run cannot go on from `checkpoint`: another stage, other data, another order of the data.
void check_resumable(const Checkpoint& checkpoint, const TrainOptions& options, Stage stage,
                     const TrainingSetup& setup);

}  // namespace minimind
