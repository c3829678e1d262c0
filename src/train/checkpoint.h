#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "minimind/io/state_dict.h"

namespace minimind {

/// Where a run stands, always between two optimiser steps. Everything else that decides its further course is in the
/// tensors or follows from the seed.
struct TrainingPosition {
  int64_t epoch = 0;
  int64_t group = 0;  ///< next group of the epoch's order, over all ranks
  int64_t step = 0;   ///< micro-batches of each rank since the run began
};

/// What a checkpoint says about itself, beside its tensors.
struct CheckpointInfo {
  std::string stage;
  std::string config;   ///< LmConfig as JSON
  std::string options;  ///< TrainOptions as JSON
  TrainingPosition position;
  int64_t world_size = 1;
  int64_t threads = 1;
  int64_t samples = 0;           ///< of the data set
  std::string data_digest;       ///< of the data set, see Dataset::digest()
  std::string tokenizer_digest;  ///< of the tokenizer's file
  int64_t order_block = 0;  ///< LoaderOptions::block_size: with it any number of processes goes on in the same order
};

struct Checkpoint {
  CheckpointInfo info;
  StateDict state;
  std::filesystem::path path;
};

/// What a checkpoint is without its numbers: description, path, and name, type and shape of each tensor.
std::string checkpoint_outline(const Checkpoint& checkpoint);
/// The checkpoint of such an outline, its tensors not filled.
Checkpoint checkpoint_from_outline(const std::string& outline);

/// Writes beside, syncs, renames. Throws Error.
void write_checkpoint(const std::filesystem::path& path, const CheckpointInfo& info, const StateDict& state);

/// Throws Error if the file is no checkpoint of ours, is cut off, or differs in a bit from what was written.
Checkpoint read_checkpoint(const std::filesystem::path& path);

/// The stage that a checkpoint is of, by its description alone; none where the file is not one of ours or cannot be
/// read.
std::optional<std::string> checkpoint_stage(const std::filesystem::path& path);

}  // namespace minimind
