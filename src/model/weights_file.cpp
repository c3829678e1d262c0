#include <ATen/Tensor.h>

#include <algorithm>
#include <string>
#include <vector>

#include "base/hub_folder.h"
#include "base/json.h"
#include "base/utf8.h"
#include "io/checkpoint_keys.h"
#include "io/pth.h"
#include "io/safetensors.h"
#include "io/state_dict_file.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/stage.h"
#include "minimind/model/weights.h"
#include "model/weight_causes.h"
#include "model/weight_match.h"

namespace minimind {

namespace {

/// The stage that the end of a weights file's name gives; "" if there is none.
std::string stage_of_name(const fs::path& weights) {
  const std::string stem = weights.stem().string();
  const auto found = std::ranges::find_if(
      kStages, [&stem](const StageInfo& stage) { return stem.ends_with(concat('_', stage.file_end)); });
  return found == kStages.end() ? "" : found->file_end;
}

/// The place of a stage in kStages by its file_end; the size of kStages if there is none.
size_t stage_index(const std::string& file_end) {
  const auto found =
      std::ranges::find_if(kStages, [&file_end](const StageInfo& stage) { return stage.file_end == file_end; });
  return static_cast<size_t>(found - kStages.begin());
}

/// Takes the configuration, the stage and the model's tensors of a training checkpoint.
void take_checkpoint(ModelFile& file, const std::string& description) {
  check_json_limits(description, file.weights.string() + " (its description)");
  const Json json = Json::parse(description, nullptr, false);
  const bool fits = json.is_object() && json.contains("config") && json["config"].is_string();
  require(fits, file.weights.string(), ": expected a training checkpoint whose metadata ", kCheckpointMetadataKey,
          " holds its configuration, found none");
  file.config = lm_config_from_json(json["config"].get<std::string>(), file.weights.string() + " (its configuration)");
  file.config_is_given = true;
  file.stage = "vlm_" + (json.contains("stage") && json["stage"].is_string() ? json["stage"].get<std::string>() : "");
  file.state = model_of_checkpoint(file.state);
}

fs::path own_config(fs::path weights) {
  return weights.replace_extension(".json");
}

/// Tells that a configuration beside a `.pth` does not count, because the file holds another.
void note_other_config(ModelFile& file) {
  const fs::path own = own_config(file.weights);
  if (!fs::exists(own)) {
    return;
  }
  const LmConfig beside = lm_config_from_json(read_file(own), own.string());
  if (lm_config_to_json(beside) != lm_config_to_json(file.config)) {
    file.notice = own.string() + " was ignored: the weights file holds another configuration";
  }
}

/// Sets config and stage from the metadata of a safetensors file, or config from its record in a `.pth`.
void read_metadata(ModelFile& file) {
  if (is_weights_index(file.weights)) {
    return;
  }
  if (const MappedFile archive(file.weights); is_zip(archive)) {
    if (const std::string config = read_pth_config(archive); !config.empty()) {
      file.config = lm_config_from_json(config, concat(file.weights.string(), " (record ", kPthConfigRecord, ")"));
      file.config_is_given = true;
      note_other_config(file);
    }
    return;
  }
  const auto metadata = read_safetensors_metadata(file.weights);
  if (const auto checkpoint = metadata.find(kCheckpointMetadataKey); checkpoint != metadata.end()) {
    take_checkpoint(file, checkpoint->second);
  }
  if (const auto config = metadata.find("config"); config != metadata.end()) {
    file.config = lm_config_from_json(config->second, file.weights.string() + " (metadata \"config\")");
    file.config_is_given = true;
  }
  if (const auto stage = metadata.find("stage"); stage != metadata.end()) {
    file.stage = stage->second;
  }
}

/// Takes the file's own `NAME.json`, which a training run writes, or config.json beside the weights. Beside a single
/// file config.json may belong to another model; it counts only if the shapes agree.
void read_config_beside(ModelFile& file, bool is_folder, const std::vector<StateDict::Entry>& entries) {
  const fs::path own = own_config(file.weights);
  if (fs::exists(own) && !is_weights_index(file.weights)) {
    file.config = lm_config_from_json(read_file(own), own.string());
    file.config_is_given = true;
    return;
  }
  const fs::path path = file.weights.parent_path() / "config.json";
  if (!fs::exists(path)) {
    return;
  }
  LmConfig config;
  try {
    config = lm_config_from_json(read_file(path), path.string());
  } catch (const Error& error) {
    if (is_folder) {
      throw;
    }
    file.notice = concat(path.string(), " was ignored: ", error.what());
    return;
  }
  LmConfig of_tensors = config;
  deduce_shape(entries, &of_tensors);
  if (is_folder || shape_flags(config, of_tensors).empty()) {
    file.config = config;
    file.config_is_given = true;
  } else {
    file.notice = path.string() + " was ignored: it describes a model of another shape";
  }
}

void deduce_config(ModelFile& file, const std::vector<StateDict::Entry>& entries) {
  const std::string where = file.weights.string();
  if (!deduce_shape(entries, &file.config)) {
    fail(where,
         ": expected the weights of a MiniMind language model (tok_embeddings.weight, layers.0.attention.…), found ",
         entries.empty() ? "no tensor" : printable(entries.front().first) + " and the like", "; ",
         likely_cause(entries, file.config, false));
  }
  try {
    file.config.validate();
  } catch (const Error& error) {
    fail(where, ": the shape of its tensors does not fit ", file.config.n_heads, " heads, the default (", error.what(),
         "); put the model's config.json beside it");
  }
  file.notice += concat(file.notice.empty() ? "" : "; ", where, " does not show its head counts: assumed n_heads ",
                        file.config.n_heads, ", n_kv_heads ", file.config.n_kv_heads,
                        "; give them in a configuration beside it, ", own_config(file.weights).filename().string());
  if (file.config.n_kv_heads * 4 == file.config.n_heads) {
    file.notice += " (the later MiniMind2 has this ratio, another rotary base and does not fit this program)";
  }
}

}  // namespace

fs::path folder_weights(const fs::path& folder) {
  for (const char* name : kFolderWeights) {
    if (fs::exists(folder / name)) {
      return folder / name;
    }
  }
  for (const std::string name : kFolderWeights) {
    if (fs::path index = folder / (name + kWeightsIndexEnd); fs::exists(index)) {
      return index;
    }
  }
  for (const char* name : {"open_clip_model.safetensors", "open_clip_pytorch_model.bin", "open_clip_config.json"}) {
    require(
        !fs::exists(folder / name), folder.string(), ": expected model.safetensors or pytorch_model.bin, found ", name,
        ", which is open_clip's; take the same model in transformers' form (for example openai/clip-vit-base-patch32)");
  }
  fail(folder.string(),
       ": expected model.safetensors or pytorch_model.bin in this folder, found no such file; to use "
       "a .pth file, name the file itself");
}

ModelFile find_model(const fs::path& path) {
  require(fs::exists(path), path.string(),
          ": expected a model (a .pth or .safetensors file, or a folder with config.json "
          "and weights), found nothing there");
  const bool is_folder = fs::is_directory(path);
  ModelFile file;
  file.weights = is_folder ? folder_weights(hub_snapshot(path)) : path;
  file.state = read_state_dict(file.weights);
  read_metadata(file);
  const std::vector<StateDict::Entry> entries = clean_keys(file.state, is_leftover);
  if (!file.config_is_given) {
    read_config_beside(file, is_folder, entries);
  }
  if (file.config_is_given) {
    // The original's config.json lacks the vision encoder's width.
    LmConfig of_tensors = file.config;
    if (deduce_shape(entries, &of_tensors)) {
      file.config.vision_dim = of_tensors.vision_dim;
    }
  } else {
    deduce_config(file, entries);
  }
  require_like_size(file.config.approximate_parameters(), file.state, file.weights.string(),
                    likely_cause(entries, file.config, false));
  if (file.stage.empty()) {
    file.stage = stage_of_name(file.weights);
  }
  return file;
}

std::string stage_warning(const ModelFile& file, const std::string& meant) {
  const size_t found = stage_index(file.stage), wanted = stage_index(meant);
  if (found >= wanted || wanted == kStages.size()) {
    return "";
  }
  return concat(file.weights.string(), ": expected a file of the stage ", meant, ", found one of the stage ",
                file.stage, ", which has not been trained on this task");
}

}  // namespace minimind
