#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "minimind/base/fields.h"
#include "minimind/base/image_span.h"

namespace minimind {

/// Shape and constants of the language model. Keys as in the original's config.json; SPEC.md section 1.
struct LmConfig {
  int64_t dim = 512;
  int64_t n_layers = 8;
  int64_t n_heads = 16;
  int64_t n_kv_heads = 8;
  int64_t vocab_size = 6400;
  std::optional<int64_t> hidden_dim;  ///< none: int(2*4*dim/3) rounded up to multiple_of
  int64_t multiple_of = 64;
  double norm_eps = 1e-5;
  int64_t max_seq_len = 512;
  double dropout = 0.0;
  bool flash_attn = true;
  std::string image_special_token = std::string(25, '<') + std::string(25, '>');
  std::vector<int64_t>
      image_ids;  ///< empty: asked of the tokenizer; 25 times 30 and 25 times 32 in the released models
  bool use_moe = false;
  int64_t num_experts_per_tok = 2;
  int64_t n_routed_experts = 4;
  bool has_shared_experts = true;  ///< JSON key n_shared_experts: null is false, anything else true
  std::string scoring_func = "softmax";
  double aux_loss_alpha = 0.01;
  bool seq_aux = true;
  bool norm_topk_prob = true;
  int64_t vision_dim = 768;  ///< W: input width of the projection; not in the original's config.json, taken from the
                             ///< weights or the CLIP folder

  Fields fields();
  /// Throws Error on a shape that cannot be (dim not divisible by n_heads, odd head width, n_heads not a multiple of
  /// n_kv_heads, …).
  void validate() const;
  /// Inner width of the feed-forward.
  int64_t inner_dim() const;
  int64_t head_dim() const { return dim / n_heads; }
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
};

LmConfig lm_config_from_json(const std::string& json, const std::string& where);
std::string lm_config_to_json(const LmConfig& config);
ClipVisionConfig clip_config_from_json(const std::string& json, const std::string& where);

}  // namespace minimind
