#include "train/resume.h"

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "minimind/base/error.h"
#include "minimind/base/fields.h"
#include "train/checkpoint_folder.h"

namespace minimind {

std::optional<Checkpoint> find_checkpoint(const TrainOptions& options, Stage stage,
                                          const std::optional<AttemptTimes>& times) {
  if (options.resume == "none") {
    return std::nullopt;
  }
  if (options.resume != "auto") {
    const std::filesystem::path path = options.resume;
    require(std::filesystem::exists(path), path.string(),
            ": expected a checkpoint to resume from (--resume), found nothing");
    if (!std::filesystem::is_directory(path)) {
      return read_checkpoint(path);
    }
    std::optional<Checkpoint> found = CheckpointFolder(path, stage_name(stage), options.keep_last).newest();
    require(found.has_value(), path.string(), ": expected checkpoints step_*.safetensors (--resume), found none");
    return found;
  }
  const std::string end = concat("_vlm_", stage_name(stage), kCheckpointFolderEnd);
  std::optional<Checkpoint> newest;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(options.out_dir, ignored)) {
    const std::string name = entry.path().filename().string();
    const bool matches_width = !options.model.dim || name.starts_with(concat(*options.model.dim, "_"));
    const bool matches_kind = !options.model.use_moe || name.ends_with("_moe" + end) == *options.model.use_moe;
    if (entry.is_directory() && name.ends_with(end) && matches_width && matches_kind) {
      std::optional<Checkpoint> found =
          CheckpointFolder(entry.path(), stage_name(stage), options.keep_last).newest(times);
      require(!found || !newest, options.out_dir,
              ": expected checkpoints of one model, found those of several; give --dim and --use_moe true or false");
      if (found) {
        newest = std::move(found);
      }
    }
  }
  return newest;
}

std::optional<Checkpoint> agreed_checkpoint(const TrainOptions& options, Stage stage, ProcessGroup& group) {
  std::optional<Checkpoint> found;
  if (group.is_main() && options.resume != "auto") {
    TrainOptions own = options;
    own.resume = "auto";
    found = find_checkpoint(own, stage, group.attempt_times());
  }
  if (group.is_main() && !found) {
    found = find_checkpoint(options, stage);
  }
  const std::string outline = group.broadcast(found ? checkpoint_outline(*found) : "");
  if (outline.empty()) {
    return std::nullopt;
  }
  if (!found) {
    found = checkpoint_from_outline(outline);
  }
  std::vector<at::Tensor> tensors;
  for (const auto& [name, tensor] : found->state.entries()) {
    tensors.push_back(tensor);
  }
  group.broadcast_(tensors);
  return found;
}

void check_nothing_is_replaced(const TrainOptions& options, Stage stage, const LmConfig& config,
                               const std::filesystem::path& resumed) {
  const CheckpointFolder folder(checkpoint_folder(options, config, stage), stage_name(stage), options.keep_last);
  if (options.overwrite || folder.holds(resumed)) {
    return;
  }
  constexpr const char* kCure = "another --out_dir leaves them alone, --overwrite replaces them";
  if (const std::vector<std::filesystem::path> kept = folder.list(); !kept.empty()) {
    fail(folder.path().string(), ": expected no checkpoints of an earlier run, found ", kept.size(), " (the last one ",
         kept.back().filename().string(), "); --resume goes on from there, ", kCure);
  }
  const std::filesystem::path weights = std::filesystem::path(options.out_dir) / (output_stem(config, stage) + ".pth");
  require(!std::filesystem::exists(weights), weights.string(), ": expected no weights of an earlier run, found some; ",
          kCure);
}

void check_resumable(const Checkpoint& checkpoint, const TrainOptions& options, Stage stage,
                     const TrainingSetup& setup) {
  const std::string where = checkpoint.path.string();
  require(checkpoint.info.stage == stage_name(stage), where, ": expected a checkpoint of ", stage_name(stage),
          ", found one of ", checkpoint.info.stage);
  require(checkpoint.info.samples == setup.dataset->size(), where, ": expected the data set of ",
          checkpoint.info.samples, " samples that it was trained on, found ", setup.dataset->size(), " in ",
          options.data_path);
  const std::string cure =
      "go on with the files from before (they may lie elsewhere), or begin a new run from the "
      "weights: --init_from, another --out_dir";
  require(checkpoint.info.data_digest == setup.data_digest, where, ": expected the data set that it was trained on ",
          "(digest ", checkpoint.info.data_digest, "), found other samples or another order of them in ",
          options.data_path, " (digest ", setup.data_digest, "); ", cure);
  require(checkpoint.info.tokenizer_digest == setup.tokenizer_digest, where,
          ": expected the tokenizer that it was trained with, found another in ", options.tokenizer, "; ", cure);
  TrainOptions before;
  fields_from_json(before.fields(), checkpoint.info.options, where);
  require(before.batch_size == options.batch_size && before.seed == options.seed &&
              before.original_order == options.original_order,
          where, ": expected --batch_size ", before.batch_size, ", --seed ", before.seed, " and --original_order ",
          before.original_order, " as before (they decide the order of the data), found ", options.batch_size, ", ",
          options.seed, " and ", options.original_order);
}

}  // namespace minimind
