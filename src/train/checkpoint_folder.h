#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "dist/process_group.h"
#include "train/checkpoint.h"

namespace minimind {

/// The checkpoints of one run: `FOLDER/step_000000000123.safetensors`. Files of another name, of another origin or of
/// another stage are left alone.
class CheckpointFolder {
 public:
  CheckpointFolder(std::filesystem::path folder, std::string stage, int64_t keep_last);
  /// Writes a checkpoint, then removes those of later steps and all but the last kept ones; a doubtful one takes the
  /// place of none of this run's. Throws Error; the older ones stand then.
  void save(const CheckpointInfo& info, const StateDict& state, bool is_doubtful = false);
  /// A run from its beginning, or from another folder's checkpoint: what is there belongs to an earlier one, and the
  /// next save() removes it.
  void begin_anew() { begins_anew_ = true; }
  /// Whether that file lies in this folder, or is a link into it.
  bool holds(const std::filesystem::path& file) const;
  /// The files with a checkpoint's name, by step, the newest last; readable or not.
  std::vector<std::filesystem::path> list() const;
  /// Those of list() that are not an earlier run's.
  std::vector<std::filesystem::path> own() const;
  /// The newest checkpoint that can be read; newer ones that cannot are passed over with a warning. None where there
  /// are no checkpoints; throws Error where there are some and none can be read. With `times`, files that were not
  /// written in earlier attempts of the run do not count.
  std::optional<Checkpoint> newest(const std::optional<AttemptTimes>& times = {}) const;
  const std::filesystem::path& path() const { return folder_; }

 private:
  void remove_superseded(const std::filesystem::path& newest, bool is_doubtful);
  std::filesystem::path folder_;
  std::string stage_;
  int64_t keep_last_;
  bool begins_anew_ = false;
};

}  // namespace minimind
