#include "model/weight_causes.h"

#include <ATen/Tensor.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "minimind/base/error.h"

namespace minimind {

namespace {

using Entries = std::vector<StateDict::Entry>;

/// The matrix of this name; null if there is no tensor of the name, or not a matrix.
const at::Tensor* find_matrix(const Entries& entries, std::string_view name) {
  const auto found = std::ranges::find(entries, name, &StateDict::Entry::first);
  return found == entries.end() || found->second.dim() != 2 ? nullptr : &found->second;
}

bool any_key(const Entries& entries, auto&& predicate) {
  return std::ranges::any_of(entries, [&](const StateDict::Entry& entry) { return predicate(entry.first); });
}

bool has_part(const Entries& entries, std::string_view part) {
  return any_key(entries, [&](const std::string& key) { return key.find(part) != std::string::npos; });
}

bool has_prefix(const Entries& entries, std::string_view prefix) {
  return any_key(entries, [&](const std::string& key) { return key.starts_with(prefix); });
}

/// 1 + the highest index after `layers.`, 0 if no key has one. At most the number of keys, so that no key can ask for a
/// model of a million layers.
int64_t count_layers(const Entries& entries) {
  constexpr std::string_view kPrefix = "layers.";
  int64_t count = 0;
  for (const auto& [key, tensor] : entries) {
    int64_t index = -1;
    if (key.starts_with(kPrefix)) {
      std::from_chars(key.data() + kPrefix.size(), key.data() + key.size(), index);
    }
    count = std::max(count, index < 1'000'000 ? index + 1 : 0);
  }
  return std::min(count, std::ssize(entries));
}

void deduce_feed_forward(const Entries& entries, LmConfig* config) {
  const std::string prefix = "layers.0.feed_forward.";
  config->use_moe = has_part(entries, ".feed_forward.experts.");
  if (config->use_moe) {
    if (const at::Tensor* gate = find_matrix(entries, prefix + "gate.weight")) {
      config->n_routed_experts = gate->size(0);
      config->num_experts_per_tok = std::min(config->num_experts_per_tok, gate->size(0));
    }
    config->has_shared_experts = has_part(entries, ".feed_forward.shared_experts.");
  }
  if (const at::Tensor* w1 = find_matrix(entries, prefix + (config->use_moe ? "experts.0.w1.weight" : "w1.weight"))) {
    if (config->inner_dim() != w1->size(0)) {
      config->hidden_dim.reset();
      if (config->inner_dim() != w1->size(0)) {
        config->hidden_dim = w1->size(0);
      }
    }
  }
}

void add_difference(std::string& flags, const char* name, int64_t expected, int64_t found) {
  if (expected != found) {
    flags += concat(" --", name, " ", found);
  }
}

std::string foreign_cause(const Entries& entries) {
  if (has_part(entries, ".self_attn.q_proj") && !has_prefix(entries, "vision_model.")) {
    return "these are the key names of a later MiniMind generation (or another Hugging Face model), whose rotary "
           "layout is half-split; this program reads MiniMind-V v1 weights (layers.*.attention.wq)";
  }
  if (has_prefix(entries, "vision_model.") || has_prefix(entries, "text_model.")) {
    return "this is a CLIP encoder, which belongs to --clip_dir";
  }
  return "";
}

}  // namespace

bool deduce_shape(const Entries& entries, LmConfig* config) {
  const at::Tensor* embedding = find_matrix(entries, "tok_embeddings.weight");
  if (embedding == nullptr) {
    embedding = find_matrix(entries, "output.weight");
  }
  const at::Tensor* query = find_matrix(entries, "layers.0.attention.wq.weight");
  const at::Tensor* key = find_matrix(entries, "layers.0.attention.wk.weight");
  if (embedding == nullptr || query == nullptr || key == nullptr || key->size(0) < 1 || key->size(1) < 1) {
    return false;
  }
  config->vocab_size = embedding->size(0);
  config->dim = key->size(1);
  config->n_layers = count_layers(entries);
  const int64_t head = config->n_heads > 0 ? config->dim / config->n_heads : 0;
  if (head > 0 && key->size(0) % head == 0) {
    config->n_kv_heads = key->size(0) / head;
  }
  deduce_feed_forward(entries, config);
  if (const at::Tensor* projection = find_matrix(entries, "vision_proj.vision_proj.0.weight")) {
    config->vision_dim = projection->size(1);
  }
  return true;
}

std::string shape_flags(const LmConfig& config, const LmConfig& file) {
  std::string flags;
  add_difference(flags, "dim", config.dim, file.dim);
  add_difference(flags, "n_layers", config.n_layers, file.n_layers);
  add_difference(flags, "vocab_size", config.vocab_size, file.vocab_size);
  // The file's key/value width shows only the ratio of the head counts.
  if (config.n_kv_heads != file.n_kv_heads) {
    flags += concat(" --n_kv_heads ", file.n_kv_heads, " (if --n_heads is ", config.n_heads,
                    "; the file shows only their ratio)");
  }
  if (config.use_moe != file.use_moe) {
    flags += concat(" --use_moe ", file.use_moe ? "true" : "false");
  }
  if (file.use_moe) {
    add_difference(flags, "n_routed_experts", config.n_routed_experts, file.n_routed_experts);
    if (config.has_shared_experts != file.has_shared_experts) {
      flags += concat(" --n_shared_experts ", file.has_shared_experts ? "true" : "false");
    }
  }
  LmConfig resized = config;
  resized.dim = file.dim;
  if (resized.inner_dim() != file.inner_dim()) {
    flags += concat(" --hidden_dim ", file.inner_dim());
  }
  return flags;
}

std::string likely_cause(const Entries& entries, const LmConfig& config, bool wants_projection) {
  if (const std::string cause = foreign_cause(entries); !cause.empty()) {
    return cause;
  }
  LmConfig file = config;
  if (!deduce_shape(entries, &file)) {
    return "these are not the weights of a MiniMind language model";
  }
  if (const std::string flags = shape_flags(config, file); !flags.empty()) {
    const char* kind = config.use_moe == file.use_moe ? "a model of another shape"
                       : file.use_moe                 ? "a mixture-of-experts model"
                                                      : "a dense model";
    return concat("the file holds ", kind, ": was", flags, " meant?");
  }
  if (config.vision_dim != file.vision_dim) {
    return concat("the projection was made for a vision encoder of width ", file.vision_dim, ", not ",
                  config.vision_dim, ": was another --clip_dir meant?");
  }
  if (wants_projection && !has_prefix(entries, "vision_proj.")) {
    return "a language-only checkpoint (…_llm): train the projection first with pretrain_vlm and give its "
           "…_vlm_pretrain "
           "file here (--allow_missing vision_proj goes on without a projection)";
  }
  return "";
}

}  // namespace minimind
