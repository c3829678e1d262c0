#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/base/image_span.h"

namespace minimind {

// Shapes in comments and messages:
//   B batch    S positions of a sequence    T key positions (T >= S with a cache)    R chosen rows out of B*S
//   D model width    F inner width of the feed-forward    V vocabulary    E routed experts
//   H query heads    K key/value heads    d = D / H width of a head
//   N images of a batch    M images without cached features    P vision tokens per image    W vision width

/// Shape and constants of the language model, with the keys of the original's config.json. SPEC.md section 1.
struct LmConfig {
  int64_t dim = 512;
  int64_t n_layers = 8;
  int64_t n_heads = 16;
  int64_t n_kv_heads = 8;
  int64_t vocab_size = 6400;
  std::optional<int64_t> hidden_dim;  ///< F; none: int(2*4*dim/3) rounded up to multiple_of
  int64_t multiple_of = 64;
  double norm_eps = 1e-5;
  int64_t max_seq_len = 512;
  double dropout = 0.0;
  std::string image_special_token = std::string(25, '<') + std::string(25, '>');
  /// Ids of the image pattern; empty: the tokenizer encodes image_special_token. Released models: 25 times 30, then 25
  /// times 32.
  std::vector<int64_t> image_ids;
  bool use_moe = false;
  int64_t num_experts_per_tok = 2;
  int64_t n_routed_experts = 4;
  bool has_shared_experts = true;  ///< JSON key n_shared_experts: null is false, anything else true
  std::string scoring_func = "softmax";
  double aux_loss_alpha = 0.01;
  bool seq_aux = true;
  bool norm_topk_prob = true;
  int64_t vision_dim = 768;  ///< W, from the weights or the CLIP folder: the original's config.json lacks it

  Fields fields();
  /// Throws Error if the shape is impossible: dim not divisible by n_heads, odd head width, n_heads not a multiple of
  /// n_kv_heads, …
  void validate() const;
  /// F.
  int64_t inner_dim() const;
  /// d.
  int64_t head_dim() const { return dim / n_heads; }
  /// Number of parameters, roughly: matrices only, the tied head once. A double because it may exceed 64 bits.
  double approximate_parameters() const;
};

/// The vision half of a CLIP folder's config.json (nested `vision_config` or flat). SPEC.md section 2.
struct ClipVisionConfig {
  int64_t hidden_size = 768;
  int64_t intermediate_size = 3072;
  int64_t num_hidden_layers = 12;
  int64_t num_attention_heads = 12;
  int64_t image_size = 224;
  int64_t patch_size = 32;
  double layer_norm_eps = 1e-5;
  std::string hidden_act = "quick_gelu";

  Fields fields();
  void validate() const;
  /// P: patches and the class token.
  int64_t tokens() const { return (image_size / patch_size) * (image_size / patch_size) + 1; }
  /// Number of parameters, roughly: matrices only.
  double approximate_parameters() const;
};

/// Throws Error, with `where` as the file's name, on malformed JSON, unknown keys and impossible shapes. Ignores keys
/// of Hugging Face's bookkeeping and `flash_attn`.
LmConfig lm_config_from_json(const std::string& json, const std::string& where);
std::string lm_config_to_json(const LmConfig& config);
ClipVisionConfig clip_config_from_json(const std::string& json, const std::string& where);

/// How a model that is only used holds its weights.
enum class WeightFormat {
  kFloat32,
  kBFloat16,
  kInt8,  ///< with one scale per row
};

/// The values of --weights: float32, bfloat16, int8. Throws Error on another name.
WeightFormat weight_format_of(const std::string& name);

}  // namespace minimind
