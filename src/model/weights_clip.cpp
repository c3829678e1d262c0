#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "base/json_limits.h"
#include "io/mapped_pages.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/model/weights.h"
#include "model/skip_init.h"
#include "model/weight_match.h"

namespace minimind {

namespace {

using ClipJson = nlohmann::json;

/// The text tower, the projections into the common space, and what stands behind the features that we use.
bool is_skipped_clip_key(const std::string& key) {
  return key.starts_with("text_model.") || key.starts_with("vision_model.post_layernorm.") || key == "logit_scale" ||
         key == "text_projection.weight" || key == "visual_projection.weight" || key.ends_with("position_ids");
}

std::array<float, 3> three_numbers(const ClipJson& object, const char* key, const std::string& where) {
  const auto found = object.find(key);
  const bool fits = found != object.end() && found->is_array() && found->size() == 3 &&
                    std::ranges::all_of(*found, [](const ClipJson& value) {
                      return value.is_number() && std::isfinite(value.get<double>());
                    });
  require(fits, where, ": key \"", key, "\": expected three numbers, found something else");
  return {(*found)[0].get<float>(), (*found)[1].get<float>(), (*found)[2].get<float>()};
}

void read_normalisation(const fs::path& path, ClipVisionOptions& options) {
  if (!fs::exists(path)) {
    return;
  }
  const std::string text = read_file(path);
  check_json_limits(text, path.string());
  const ClipJson object = ClipJson::parse(text, nullptr, false);
  if (!object.is_object()) {
    fields_from_json({}, text, path.string());
  }
  if (!object.contains("image_mean") && !object.contains("image_std")) {
    return;
  }
  options.mean = three_numbers(object, "image_mean", path.string());
  options.std = three_numbers(object, "image_std", path.string());
  require(std::ranges::all_of(options.std, [](float value) { return value > 0; }), path.string(),
          ": key \"image_std\": expected numbers above 0, found another");
}

/// Roughly.
double count_parameters(const ClipVisionConfig& config) {
  const auto width = static_cast<double>(config.hidden_size);
  const auto patch = static_cast<double>(config.patch_size);
  const double layer = 4 * width * width + 2 * width * static_cast<double>(config.intermediate_size);
  return width * (3 * patch * patch + static_cast<double>(config.tokens())) +
         static_cast<double>(config.num_hidden_layers) * layer;
}

fs::path clip_weights(const fs::path& folder) {
  for (const char* name : {"model.safetensors", "pytorch_model.bin"}) {
    if (fs::exists(folder / name)) {
      return folder / name;
    }
  }
  fail(folder.string(), ": expected model.safetensors or pytorch_model.bin of CLIP in this folder, found neither");
}

std::string clip_cause(const StateDict& state, const fs::path& config) {
  const bool has_tower = std::ranges::any_of(state.entries(), [](const StateDict::Entry& entry) {
    return detail::plain_key(entry.first).starts_with("vision_model.");
  });
  if (!has_tower) {
    return "no key begins with vision_model. as in Hugging Face's CLIP: save its CLIPModel or CLIPVisionModel again "
           "with save_pretrained()";
  }
  return "does " + config.string() + " belong to these weights?";
}

/// A tensor of the file as an encoder with matrices in bfloat16 holds it. Biases and norms lie between the matrices and
/// are copied: the system would read their surroundings again with each of their pages.
at::Tensor in_bfloat16(const std::string& key, const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || (tensor.dim() != 1 && key.find(".layers.") == std::string::npos)) {
    return tensor;
  }
  const at::Tensor copy = tensor.dim() == 1 ? tensor.clone() : tensor.to(at::kBFloat16);
  release_mapped_pages(tensor);
  return copy;
}

}  // namespace

ClipVision load_clip_vision(const fs::path& clip_dir, LoadReport* report, bool share_file, ClipVisionOptions options) {
  require(fs::is_directory(clip_dir), clip_dir.string(), ": expected a CLIP folder (config.json and weights), found ",
          fs::exists(clip_dir) ? "a file" : "nothing there");
  const fs::path config_path = clip_dir / "config.json";
  const ClipVisionConfig config = clip_config_from_json(read_file(config_path), config_path.string());
  const fs::path weights = clip_weights(clip_dir);
  const StateDict state = read_state_dict(weights);
  const std::string cause = clip_cause(state, config_path);
  detail::require_like_size(count_parameters(config), state, weights.string(), cause);
  read_normalisation(clip_dir / "preprocessor_config.json", options);
  std::optional<SkipInit> unfilled;
  if (share_file) {
    unfilled.emplace();
  }
  ClipVision vision(config, options);
  unfilled.reset();
  LoadReport skipped;
  std::vector<StateDict::Entry> entries;
  for (const auto& [name, tensor] : state.entries()) {
    const std::string key = detail::plain_key(name);
    if (is_skipped_clip_key(key)) {
      ++skipped.modules[detail::module_of(key)].skipped;
    } else {
      entries.emplace_back(key, options.dtype == at::kFloat ? tensor : in_bfloat16(key, tensor));
    }
  }
  detail::WeightMatch match = detail::match_weights(detail::named_weights(*vision), entries, {});
  for (const auto& [module, counts] : skipped.modules) {
    match.report.modules[module].skipped += counts.skipped;
  }
  detail::apply_weights(match, weights.string(), cause, share_file);
  if (report != nullptr) {
    *report = std::move(match.report);
  }
  return vision;
}

}  // namespace minimind
