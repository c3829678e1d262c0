#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "minimind/base/fields.h"
#include "minimind/io/state_dict.h"

namespace minimind {

/// The place of a run in its data, always between two optimiser steps. All further random numbers follow from the seed.
struct TrainingPosition {
  int64_t epoch = 0;
  int64_t micro_batch = 0;  ///< next micro-batch of the epoch's order, counted over all ranks
  int64_t micro_step = 0;   ///< micro-batches of each rank since the run began
};

/// The description of a checkpoint, beside its tensors.
struct CheckpointInfo {
  static constexpr int64_t kVersion = 4;
  int64_t version = kVersion;
  std::string run_id;  ///< ProcessGroup::run_id() of the run that wrote it
  std::string stage;
  TrainingPosition position;
  int64_t world_size = 1;
  int64_t threads = 1;
  std::string matmul_dtype;      ///< in which the run multiplies; empty in older files: that of --dtype
  int64_t samples = 0;           ///< of the data set
  std::string data_digest;       ///< Dataset::digest()
  std::string tokenizer_digest;  ///< of the tokenizer's file
  int64_t order_block = 0;       ///< LoaderOptions::block_size: keeps the order for any number of processes
  std::string config;            ///< LmConfig as JSON
  std::string options;           ///< TrainOptions as JSON

  Fields fields();
};

struct Checkpoint {
  CheckpointInfo info;
  StateDict state;  ///< empty on ranks other than 0
  std::filesystem::path path;
};

/// Writes a temporary file, syncs it and renames it. Throws Error.
void write_checkpoint(const std::filesystem::path& path, CheckpointInfo info, const StateDict& state);

/// Throws Error if the file is no checkpoint of this version, is cut off, or differs in a bit from what was written.
Checkpoint read_checkpoint(const std::filesystem::path& path);

/// The description alone; nothing if the file cannot be read or is no checkpoint of this version.
std::optional<CheckpointInfo> read_checkpoint_info(const std::filesystem::path& path);

}  // namespace minimind
