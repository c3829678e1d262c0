#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/file_descriptor.h"
#include "dist/process_group.h"
#include "minimind/model/vlm.h"
#include "minimind/train/options.h"
#include "train/checkpoint.h"

namespace minimind {

/// Keeps two runs from writing into one folder: locks `FOLDER/.lock` while the object lives. The system releases the
/// lock when the process ends, however it ends.
class RunLock {
 public:
  /// Also removes the half-written files of a killed run. Waits up to `patience` for the end of the process that holds
  /// the lock, then throws Error with its name.
  explicit RunLock(const std::filesystem::path& folder, std::chrono::seconds patience = std::chrono::seconds(0));

 private:
  FileDescriptor file_;
};

/// The checkpoints of one run: `FOLDER/step_000000000123.safetensors`. Leaves files of other names, other programs and
/// other stages alone.
class CheckpointStore {
 public:
  CheckpointStore(std::filesystem::path folder, std::string stage, int64_t keep_last);
  /// Writes a checkpoint. Then removes checkpoints of later steps and, unless it is unverified, the oldest ones beyond
  /// `keep_last`. On failure throws Error; older checkpoints stay.
  void save(const CheckpointInfo& info, const StateDict& state, bool is_unverified = false);
  /// The run does not continue from this folder: the next save() removes the checkpoints of the earlier run.
  void replace_earlier_run() { replaces_earlier_run_ = true; }
  /// Whether the file lies in this folder, or is a link into it.
  bool holds(const std::filesystem::path& file) const;
  /// The files with a checkpoint's name by step, the newest last; readable or not.
  std::vector<std::filesystem::path> list() const;
  /// For messages: the newest checkpoint of this run, written before the steps that fail now.
  std::string newest_own_text() const;
  using RunFilter = std::function<bool(const std::string& run_id)>;
  /// The newest readable checkpoint; warns about newer ones that cannot be read. With `counts`, only checkpoints of
  /// such runs count. Nothing if there is none. Throws Error if there are checkpoints but none can be read.
  std::optional<Checkpoint> newest(const RunFilter& counts = {}) const;
  const std::filesystem::path& path() const { return folder_; }

 private:
  void remove_superseded(const std::filesystem::path& newest, bool is_unverified);
  std::filesystem::path folder_;
  std::string stage_;
  int64_t keep_last_;
  bool replaces_earlier_run_ = false;
};

/// Writes `OUT_DIR/{stem}.pth` and the configuration `{stem}.json` beside it, each replaced as a whole. `weights`: of
/// vlm_state_dict(), in host memory. Throws Error.
void write_weights(const std::filesystem::path& out_dir, const std::string& stem, const LmConfig& config,
                   const StateDict& weights);

/// The checkpoint that this run continues from; nothing if it starts from the beginning. Rank 0 alone reads the state:
/// other hosts may not have the file. A restarted run continues from its own newest checkpoint, else from what --resume
/// names. Throws Error if a named checkpoint is missing, or if `auto` finds checkpoints of several models.
std::optional<Checkpoint> find_checkpoint(const TrainOptions& options, Stage stage, ProcessGroup& group);

/// A launcher restarts a script of several stages from its beginning. If an earlier attempt has completed this stage:
/// the micro-steps of its last checkpoint, else 0. All ranks call it together.
int64_t completed_before_restart(const TrainOptions& options, Stage stage, ProcessGroup& group);

/// Throws Error if the run would replace weights or checkpoints in OUT_DIR that it does not continue from, and
/// --overwrite does not allow it. `resumed`: the checkpoint that it continues from; empty: none.
void check_nothing_is_replaced(const TrainOptions& options, Stage stage, const LmConfig& config,
                               const std::filesystem::path& resumed);

}  // namespace minimind
