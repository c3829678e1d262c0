#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/hub_folder.h"
#include "base/json.h"
#include "io/mapped_pages.h"
#include "io/state_dict_file.h"
#include "minimind/base/error.h"
#include "minimind/base/file.h"
#include "minimind/base/log.h"
#include "minimind/model/clip_vision.h"
#include "minimind/model/weights.h"
#include "model/skip_init.h"
#include "model/weight_match.h"

namespace minimind {

namespace {

/// A value of the file for a message.
std::string shown(const Json& value) {
  return value.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80);
}

/// The text tower, the projections into the common space, and what stands behind the features that we use.
bool is_skipped_clip_key(const std::string& key) {
  return key.starts_with("text_model.") || key.starts_with("vision_model.post_layernorm.") || key == "logit_scale" ||
         key == "text_projection.weight" || key == "visual_projection.weight" || key.ends_with("position_ids");
}

std::array<float, 3> channel_values(const Json& object, const char* key, const std::string& where) {
  const Json found = object.value(key, Json());
  const bool fits = found.is_array() && found.size() == 3 && std::ranges::all_of(found, [](const Json& value) {
                      return value.is_number() && std::isfinite(value.get<double>());
                    });
  if (!fits) {
    fail(where, ": key \"", key, "\": expected three numbers, found ", shown(found));
  }
  return {found[0].get<float>(), found[1].get<float>(), found[2].get<float>()};
}

void read_normalisation(const Json& object, const std::string& where, ClipVisionOptions& options) {
  if (!object.contains("image_mean") && !object.contains("image_std")) {
    return;
  }
  options.mean = channel_values(object, "image_mean", where);
  options.std = channel_values(object, "image_std", where);
  if (std::ranges::min(options.std) <= 0) {
    fail(where, ": key \"image_std\": expected numbers above 0, found ", shown(object["image_std"]));
  }
}

/// Images are resized to the encoder's square without cropping: another crop size would be another preprocessing.
void require_crop_size(const Json& object, const std::string& where, int64_t image_size) {
  const auto found = object.find("crop_size");
  if (found == object.end() || object.value("do_center_crop", Json(true)) == false) {
    return;
  }
  const bool fits = *found == image_size || *found == Json{{"height", image_size}, {"width", image_size}};
  if (!fits) {
    fail(where, ": key \"crop_size\": expected ", image_size, ", the image_size of config.json, found ", shown(*found),
         "; do both files belong to this encoder?");
  }
}

void read_preprocessing(const fs::path& path, int64_t image_size, ClipVisionOptions& options) {
  if (!fs::exists(path)) {
    return;
  }
  const Json object = parse_json(read_file(path), path.string());
  require(object.is_object(), path.string(), ": expected a JSON object, found ", object.type_name());
  require_crop_size(object, path.string(), image_size);
  read_normalisation(object, path.string(), options);
}

bool any_key(const StateDict& state, auto&& predicate) {
  return std::ranges::any_of(state.entries(),
                             [&](const StateDict::Entry& entry) { return predicate(plain_key(entry.first)); });
}

/// The tensors under the keys of transformers' CLIPModel. A larger model has another prefix in front of its encoder, an
/// encoder that was saved alone none: it is the text in front of a key that every encoder has. Other keys of a larger
/// model are dropped.
StateDict with_usual_prefix(const StateDict& state, const std::string& where) {
  constexpr std::string_view kUsual = "vision_model.", kKnown = "embeddings.patch_embedding.weight";
  if (any_key(state, [&](const std::string& key) { return key.starts_with(kUsual); })) {
    return state;
  }
  const auto found = std::ranges::find_if(
      state.entries(), [&](const StateDict::Entry& entry) { return plain_key(entry.first).ends_with(kKnown); });
  if (found == state.entries().end()) {
    return state;
  }
  const std::string key = plain_key(found->first), prefix = key.substr(0, key.size() - kKnown.size());
  StateDict renamed;
  for (const auto& [name, tensor] : state.entries()) {
    const std::string plain = plain_key(name);
    const bool is_part = std::ranges::any_of(std::array{"embeddings.", "pre_layrnorm.", "encoder.", "post_layernorm."},
                                             [&](const char* part) { return plain.starts_with(prefix + part); });
    if (is_part) {
      renamed.add(std::string(kUsual) + plain.substr(prefix.size()), tensor);
    }
  }
  log_info(
      concat("note: ", where, ": the encoder's keys have the prefix \"", prefix, "\" in place of \"", kUsual, "\""));
  return renamed;
}

std::string clip_cause(const StateDict& state, const fs::path& config) {
  const bool has_tower = any_key(state, [](const std::string& key) { return key.starts_with("vision_model."); });
  if (any_key(state, [](const std::string& key) { return key.find("resblocks.") != std::string::npos; })) {
    return "these are the key names of open_clip or of OpenAI's own files (visual.transformer.resblocks): take the "
           "same "
           "model in transformers' form, for example openai/clip-vit-base-patch32";
  }
  if (!has_tower) {
    return "no key has the prefix vision_model. as in Hugging Face's CLIP, and none holds an encoder behind another "
           "prefix: save its CLIPModel or CLIPVisionModel again with save_pretrained()";
  }
  return "does " + config.string() + " belong to these weights?";
}

/// A tensor of the file as an encoder with bfloat16 matrices holds it. Biases and norms lie between the matrices in the
/// file; copies of them save the system from reading their surroundings again with each of their pages.
at::Tensor in_bfloat16(const std::string& key, const at::Tensor& tensor) {
  if (!tensor.is_floating_point() || (tensor.dim() != 1 && key.find(".layers.") == std::string::npos)) {
    return tensor;
  }
  const at::Tensor copy = tensor.dim() == 1 ? tensor.clone() : tensor.to(at::kBFloat16);
  release_mapped_pages(tensor);
  return copy;
}

}  // namespace

ClipVision load_clip_vision(const fs::path& folder, LoadReport* report, bool map_weights, ClipVisionOptions options) {
  require(fs::is_directory(folder), folder.string(), ": expected a CLIP folder (config.json and weights), found ",
          fs::exists(folder) ? "a file" : "nothing there");
  const fs::path clip_dir = hub_snapshot(folder);
  const fs::path config_path = clip_dir / "config.json";
  const ClipVisionConfig config = clip_config_from_json(read_file(config_path), config_path.string());
  const fs::path weights = folder_weights(clip_dir);
  const StateDict state = with_usual_prefix(read_state_dict(weights), weights.string());
  const std::string cause = clip_cause(state, config_path);
  require_like_size(config.approximate_parameters(), state, weights.string(), cause);
  read_preprocessing(clip_dir / "preprocessor_config.json", config.image_size, options);
  std::optional<SkipInit> skip_init;
  if (map_weights) {
    skip_init.emplace();
  }
  ClipVision vision(config, options);
  LoadReport skipped;
  std::vector<StateDict::Entry> entries = clean_keys(state, is_skipped_clip_key, &skipped);
  if (options.dtype != at::kFloat) {
    std::ranges::for_each(entries, [](auto& entry) { entry.second = in_bfloat16(entry.first, entry.second); });
    // The system has read pages of released matrices again with those of their neighbours.
    std::ranges::for_each(state.entries(), [](const auto& entry) { release_mapped_pages(entry.second); });
  }
  WeightMatch match = match_weights(named_weights(*vision), entries, {}, std::move(skipped));
  if (!match.problems.empty()) {
    refuse_weights(match, weights.string(), cause);
  }
  apply_weights(match, map_weights);
  if (report != nullptr) {
    *report = std::move(match.report);
  }
  return vision;
}

}  // namespace minimind
