#include "minimind/model/config.h"

#include <algorithm>
#include <cmath>

#include "base/json.h"
#include "base/machine_limits.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

constexpr const char* kSharedKey = "n_shared_experts";

/// Keys without effect on this model: those that Hugging Face's PretrainedConfig writes into every config.json, and the
/// original's choice of an attention kernel.
const std::vector<std::string>& ignored_keys() {
  static const std::vector<std::string> keys = {
      // clang-format off
      "_name_or_path", "_attn_implementation_autoset", "add_cross_attention", "architectures", "auto_map",
      "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "chunk_size_feed_forward",
      "cross_attention_hidden_size", "decoder_start_token_id", "diversity_penalty", "do_sample", "dtype",
      "early_stopping", "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty",
      "finetuning_task", "flash_attn", "forced_bos_token_id", "forced_eos_token_id", "id2label", "is_decoder", "is_encoder_decoder",
      "label2id", "length_penalty", "max_length", "min_length", "model_type", "no_repeat_ngram_size",
      "num_beam_groups", "num_beams", "num_return_sequences", "output_attentions", "output_hidden_states",
      "output_scores", "pad_token_id", "prefix", "problem_type", "pruned_heads", "remove_invalid_values",
      "repetition_penalty", "return_dict", "return_dict_in_generate", "sep_token_id", "suppress_tokens",
      "task_specific_params", "temperature", "tf_legacy_loss", "tie_encoder_decoder", "tie_word_embeddings",
      "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript", "transformers_version", "typical_p",
      "use_bfloat16", "use_cache",
      // clang-format on
  };
  return keys;
}

OrderedJson parse_config(const std::string& json, const std::string& where) {
  OrderedJson parsed = parse_ordered_json(json, where);
  require(parsed.is_object(), where, ": expected a JSON object, found ", parsed.type_name());
  return parsed;
}

/// fields() with the name that config.json uses for the shared experts.
Fields json_fields(LmConfig& config) {
  Fields fields = config.fields();
  std::ranges::find(fields, "shared_experts", &Field::name)->name = kSharedKey;
  return fields;
}

void require_between(const char* name, int64_t value, int64_t low, int64_t high) {
  require(value >= low && value <= high, "model configuration: ", name, ": expected ", low, " to ", high, ", found ",
          value);
}

void validate_experts(const LmConfig& config) {
  require_between("n_routed_experts", config.n_routed_experts, 1, 4096);
  require(config.num_experts_per_tok >= 1 && config.num_experts_per_tok <= config.n_routed_experts,
          "model configuration: num_experts_per_tok: expected 1 to n_routed_experts = ", config.n_routed_experts,
          ", found ", config.num_experts_per_tok);
  require(config.scoring_func == "softmax", "model configuration: scoring_func: expected \"softmax\", found \"",
          config.scoring_func, "\"");
  require(std::isfinite(config.aux_loss_alpha) && config.aux_loss_alpha >= 0,
          "model configuration: aux_loss_alpha: expected 0 or more, found ", config.aux_loss_alpha);
}

/// validate(), with the file named.
template <class Config>
void require_valid(const Config& config, const std::string& where) {
  try {
    config.validate();
  } catch (const Error& error) {
    fail(where, ": ", error.what());
  }
}

}  // namespace

Fields LmConfig::fields() {
  return {
      {"dim", &dim},
      {"n_layers", &n_layers},
      {"n_heads", &n_heads},
      {"n_kv_heads", &n_kv_heads},
      {"vocab_size", &vocab_size},
      {"hidden_dim", &hidden_dim},
      {"multiple_of", &multiple_of},
      {"norm_eps", &norm_eps},
      {"max_seq_len", &max_seq_len},
      {"dropout", &dropout},
      {"image_special_token", &image_special_token},
      {"image_ids", &image_ids},
      {"use_moe", &use_moe},
      {"num_experts_per_tok", &num_experts_per_tok},
      {"n_routed_experts", &n_routed_experts},
      {"shared_experts", &has_shared_experts},
      {"scoring_func", &scoring_func, "", {"softmax"}},
      {"aux_loss_alpha", &aux_loss_alpha},
      {"seq_aux", &seq_aux},
      {"norm_topk_prob", &norm_topk_prob},
      {"vision_dim", &vision_dim},
  };
}

void LmConfig::validate() const {
  require_between("dim", dim, 2, 65536);
  require_between("n_layers", n_layers, 1, 1024);
  require_between("n_heads", n_heads, 1, dim);
  require_between("n_kv_heads", n_kv_heads, 1, n_heads);
  require_between("vocab_size", vocab_size, 2, int64_t{1} << 24);
  require_between("multiple_of", multiple_of, 1, 65536);
  require_between("max_seq_len", max_seq_len, 1, kLongestContext);
  require_between("vision_dim", vision_dim, 1, 65536);
  if (hidden_dim) {
    require_between("hidden_dim", *hidden_dim, 1, int64_t{1} << 20);
  }
  require(dim % n_heads == 0, "model configuration: dim: expected a multiple of n_heads = ", n_heads, ", found ", dim);
  require(head_dim() % 2 == 0, "model configuration: dim / n_heads: expected an even head width, found ", head_dim(),
          " (dim ", dim, ", n_heads ", n_heads, "); rotary positions rotate pairs");
  require(n_heads % n_kv_heads == 0, "model configuration: n_heads: expected a multiple of n_kv_heads = ", n_kv_heads,
          ", found ", n_heads);
  require(std::isfinite(norm_eps) && norm_eps > 0, "model configuration: norm_eps: expected more than 0, found ",
          norm_eps);
  require(dropout >= 0 && dropout < 1, "model configuration: dropout: expected 0 to below 1, found ", dropout);
  for (const int64_t id : image_ids) {
    require(id >= 0 && id < vocab_size, "model configuration: image_ids: expected ids below vocab_size = ", vocab_size,
            ", found ", id);
  }
  if (use_moe) {
    validate_experts(*this);
  }
}

int64_t LmConfig::inner_dim() const {
  if (hidden_dim) {
    return *hidden_dim;
  }
  const int64_t inner = 2 * 4 * dim / 3;
  return (inner + multiple_of - 1) / multiple_of * multiple_of;
}

double LmConfig::approximate_parameters() const {
  const auto width = static_cast<double>(dim);
  const double heads = 2.0 + 2.0 * static_cast<double>(n_kv_heads) / static_cast<double>(n_heads);
  const double experts = use_moe ? static_cast<double>(n_routed_experts) + (has_shared_experts ? 1 : 0) : 1;
  const double layer = heads * width * width + 3 * experts * width * static_cast<double>(inner_dim());
  return static_cast<double>(vocab_size + vision_dim) * width + static_cast<double>(n_layers) * layer;
}

Fields ClipVisionConfig::fields() {
  return {
      {"hidden_size", &hidden_size},
      {"intermediate_size", &intermediate_size},
      {"num_hidden_layers", &num_hidden_layers},
      {"num_attention_heads", &num_attention_heads},
      {"image_size", &image_size},
      {"patch_size", &patch_size},
      {"layer_norm_eps", &layer_norm_eps},
      {"hidden_act", &hidden_act, "", {"quick_gelu"}},
  };
}

void ClipVisionConfig::validate() const {
  require_between("vision hidden_size", hidden_size, 1, 65536);
  require_between("vision intermediate_size", intermediate_size, 1, int64_t{1} << 20);
  require_between("vision num_hidden_layers", num_hidden_layers, 1, 1024);
  require_between("vision num_attention_heads", num_attention_heads, 1, hidden_size);
  require_between("vision image_size", image_size, 1, 8192);
  require_between("vision patch_size", patch_size, 1, image_size);
  require(image_size % patch_size == 0,
          "vision configuration: image_size: expected a multiple of patch_size = ", patch_size, ", found ", image_size);
  require(hidden_size % num_attention_heads == 0,
          "vision configuration: hidden_size: expected a multiple of num_attention_heads = ", num_attention_heads,
          ", found ", hidden_size);
  require(std::isfinite(layer_norm_eps) && layer_norm_eps > 0,
          "vision configuration: layer_norm_eps: expected more than 0, found ", layer_norm_eps);
  require(hidden_act == "quick_gelu", "vision configuration: hidden_act: expected \"quick_gelu\", found \"", hidden_act,
          "\"; another encoder than CLIP ViT-B/32's family does not fit");
}

double ClipVisionConfig::approximate_parameters() const {
  const auto width = static_cast<double>(hidden_size), patch = static_cast<double>(patch_size);
  const double layer = 4 * width * width + 2 * width * static_cast<double>(intermediate_size);
  return width * (3 * patch * patch + static_cast<double>(tokens())) + static_cast<double>(num_hidden_layers) * layer;
}

LmConfig lm_config_from_json(const std::string& json, const std::string& where) {
  OrderedJson object = parse_config(json, where);
  if (const auto type = object.find("model_type"); type != object.end() && *type != "minimind") {
    fail(where, ": key \"model_type\": expected \"minimind\", found ", type->dump(),
         "; this is the configuration of another model");
  }
  require(!object.contains("num_hidden_layers"), where,
          ": key \"num_hidden_layers\": expected \"n_layers\", \"dim\" and the like; this is the configuration of a "
          "later MiniMind generation, whose weights do not fit this model");
  if (const auto shared = object.find(kSharedKey); shared != object.end()) {
    *shared = !shared->is_null();
  }
  LmConfig config;
  fields_from_json(json_fields(config), object.dump(-1, ' ', false, OrderedJson::error_handler_t::replace), where,
                   ignored_keys());
  require_valid(config, where);
  return config;
}

std::string lm_config_to_json(const LmConfig& config) {
  LmConfig copy = config;
  OrderedJson object = {{"model_type", "minimind"}};
  object.update(OrderedJson::parse(fields_to_json(json_fields(copy))));
  object[kSharedKey] = config.has_shared_experts ? OrderedJson(true) : OrderedJson();
  return object.dump(2);
}

ClipVisionConfig clip_config_from_json(const std::string& json, const std::string& where) {
  const OrderedJson object = parse_config(json, where);
  const auto nested = object.find("vision_config");
  require(nested == object.end() || nested->is_object(), where,
          ": key \"vision_config\": expected an object, found something else");
  const OrderedJson& vision = nested == object.end() ? object : *nested;
  const std::string type = vision.value("model_type", OrderedJson("clip_vision_model")).dump();
  require(type == "\"clip_vision_model\"", where, ": key \"model_type\": expected \"clip_vision_model\", found ", type,
          "; this is not the folder of a CLIP vision encoder");
  ClipVisionConfig config;
  const Fields fields = config.fields();
  OrderedJson known = OrderedJson::object();
  for (const auto& [key, value] : vision.items()) {
    if (std::ranges::find(fields, key, &Field::name) != fields.end()) {
      known[key] = value;
    }
  }
  const OrderedJson channels = vision.value("num_channels", OrderedJson(3));
  require(channels == 3, where, ": key \"num_channels\": expected 3, found ", channels.dump());
  fields_from_json(fields, known.dump(-1, ' ', false, OrderedJson::error_handler_t::replace), where);
  require_valid(config, where);
  return config;
}

WeightFormat weight_format_of(const std::string& name) {
  require(name == "float32" || name == "bfloat16" || name == "int8",
          "weights: expected float32, bfloat16 or int8, found ", name);
  return name == "int8" ? WeightFormat::kInt8 : name == "bfloat16" ? WeightFormat::kBFloat16 : WeightFormat::kFloat32;
}

}  // namespace minimind
