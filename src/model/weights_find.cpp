#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/json_limits.h"
#include "base/utf8.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/model/weights.h"
#include "model/weight_match.h"

namespace minimind {

namespace {

using FindJson = nlohmann::json;

constexpr std::array<const char*, 4> kStages = {"llm", "vlm_pretrain", "vlm_sft", "vlm_sft_multi"};

/// The weight file of a Hugging Face folder.
fs::path folder_weights(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    if (fs::exists(folder / name)) {
      return folder / name;
    }
  }
  for (const char* name : {"model.safetensors.index.json", "pytorch_model.bin.index.json"}) {
    require(!fs::exists(folder / name), folder.string(), ": expected one weight file, found the parts listed in ", name,
            "; save the model again in one piece (max_shard_size)");
  }
  fail(folder.string(),
       ": expected model.safetensors or pytorch_model.bin in this folder, found neither; to use a .pth "
       "file name the file itself");
}

std::string stage_of_name(const fs::path& weights) {
  const std::string stem = weights.stem().string();
  const auto fits = [&stem](const char* stage) { return stem.ends_with(std::string("_") + stage); };
  const auto found = std::ranges::find_if(kStages, fits);
  return found == kStages.end() ? "" : *found;
}

/// A training checkpoint names the model's tensors `model.*`, beside the optimiser's.
void take_checkpoint(ModelFile& file, const std::string& description) {
  check_json_limits(description, file.weights.string() + " (its description)");
  const FindJson json = FindJson::parse(description, nullptr, false);
  const bool fits = json.is_object() && json.contains("config") && json["config"].is_string();
  require(fits, file.weights.string(),
          ": expected a description of the training checkpoint in its metadata, found none");
  file.config = lm_config_from_json(json["config"].get<std::string>(), file.weights.string() + " (its configuration)");
  file.config_is_given = true;
  file.stage = "vlm_" + (json.contains("stage") && json["stage"].is_string() ? json["stage"].get<std::string>() : "");
  constexpr std::string_view kPrefix = "model.";
  StateDict model;
  for (const auto& [name, tensor] : file.state.entries()) {
    if (name.starts_with(kPrefix)) {
      model.add(name.substr(kPrefix.size()), tensor);
    }
  }
  file.state = std::move(model);
}

/// What lies in a safetensors file's metadata; fills config and stage.
void read_metadata(ModelFile& file) {
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

bool same_shape(const LmConfig& a, const LmConfig& b) {
  return a.dim == b.dim && a.n_layers == b.n_layers && a.vocab_size == b.vocab_size && a.n_kv_heads == b.n_kv_heads &&
         a.use_moe == b.use_moe && a.inner_dim() == b.inner_dim() &&
         (!a.use_moe || (a.n_routed_experts == b.n_routed_experts && a.has_shared_experts == b.has_shared_experts));
}

fs::path own_config(const fs::path& weights) {
  fs::path path = weights;
  return path.replace_extension(".json");
}

/// Takes the file's own `NAME.json`, written by a training run, or config.json beside the weights. In a Hugging Face
/// folder it is the model's; beside a single file it may be another's, and counts only if the shapes agree.
void read_config_beside(ModelFile& file, bool is_folder, const std::vector<StateDict::Entry>& entries) {
  const fs::path own = own_config(file.weights);
  if (fs::exists(own)) {
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
    file.notice = concat(path.string(), " was left out of account: ", error.what());
    return;
  }
  LmConfig of_tensors = config;
  detail::deduce_shape(entries, &of_tensors);
  if (is_folder || same_shape(config, of_tensors)) {
    file.config = config;
    file.config_is_given = true;
  } else {
    file.notice = path.string() + " was left out of account: it describes a model of another shape";
  }
}

/// Roughly; the tied head once.
double count_parameters(const LmConfig& config) {
  const auto dim = static_cast<double>(config.dim);
  const double heads = 2.0 + 2.0 * static_cast<double>(config.n_kv_heads) / static_cast<double>(config.n_heads);
  const double experts =
      config.use_moe ? static_cast<double>(config.n_routed_experts) + (config.has_shared_experts ? 1 : 0) : 1;
  const double layer = heads * dim * dim + 3 * experts * dim * static_cast<double>(config.inner_dim());
  return static_cast<double>(config.vocab_size + config.vision_dim) * dim +
         static_cast<double>(config.n_layers) * layer;
}

void deduce_config(ModelFile& file, const std::vector<StateDict::Entry>& entries) {
  const std::string where = file.weights.string();
  if (!detail::deduce_shape(entries, &file.config)) {
    fail(where,
         ": expected the weights of a MiniMind language model (tok_embeddings.weight, layers.0.attention.…), found ",
         entries.empty() ? "no tensor" : printable(entries.front().first) + " and the like", "; ",
         detail::likely_cause(entries, file.config, false));
  }
  try {
    file.config.validate();
  } catch (const Error& error) {
    fail(where, ": the shape told by its tensors cannot be used with ", file.config.n_heads, " heads, the default (",
         error.what(), "); put the model's config.json beside it");
  }
  file.notice += concat(file.notice.empty() ? "" : "; ", where, " does not tell its head counts: assumed n_heads ",
                        file.config.n_heads, ", n_kv_heads ", file.config.n_kv_heads, "; a configuration beside it, ",
                        own_config(file.weights).filename().string(), ", tells them");
  if (file.config.n_kv_heads * 4 == file.config.n_heads) {
    file.notice += " (the later MiniMind2 has this ratio, another rotary base and does not fit this program)";
  }
}

}  // namespace

ModelFile find_model(const fs::path& path) {
  require(fs::exists(path), path.string(),
          ": expected a model (a .pth or .safetensors file, or a folder with config.json "
          "and weights), found nothing there");
  const bool is_folder = fs::is_directory(path);
  ModelFile file;
  file.weights = is_folder ? folder_weights(path) : path;
  file.state = read_state_dict(file.weights);
  read_metadata(file);
  const std::vector<StateDict::Entry> entries = detail::clean_keys(file.state, nullptr);
  if (!file.config_is_given) {
    read_config_beside(file, is_folder, entries);
  }
  if (file.config_is_given) {
    // The original's config.json does not name the vision encoder's width.
    LmConfig of_tensors = file.config;
    if (detail::deduce_shape(entries, &of_tensors)) {
      file.config.vision_dim = of_tensors.vision_dim;
    }
  } else {
    deduce_config(file, entries);
  }
  detail::require_like_size(count_parameters(file.config), file.state, file.weights.string(),
                            detail::likely_cause(entries, file.config, false));
  if (file.stage.empty()) {
    file.stage = stage_of_name(file.weights);
  }
  return file;
}

std::string stage_warning(const ModelFile& file, const std::string& meant) {
  const auto found = std::ranges::find(kStages, file.stage);
  const auto wanted = std::ranges::find(kStages, meant);
  if (found == kStages.end() || wanted == kStages.end() || found >= wanted) {
    return "";
  }
  return concat(file.weights.string(), ": a file of the stage ", file.stage, " where ", meant,
                " is meant; its answers will be those of a model that has not learned this stage's task");
}

}  // namespace minimind
