#include "minimind/model/language_model.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "minimind/base/error.h"
#include "model/ops/rope.h"

namespace minimind {

void KvCache::truncate(int64_t length) {
  if (length < 0 || length > this->length()) {
    throw std::logic_error("KvCache::truncate: more than it holds");
  }
  for (LayerCache& layer : layers) {
    layer.length = length;
  }
}

KvCache make_cache(const LmConfig& config, int64_t batch, int64_t capacity, torch::Dtype dtype,
                   const torch::Device& device) {
  KvCache cache;
  const auto options = at::TensorOptions().dtype(dtype).device(device);
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    // The system provides a page when a position of it is filled.
    const std::vector<int64_t> shape = {batch, config.n_kv_heads, capacity, config.head_dim()};
    cache.layers.push_back({at::empty(shape, options), at::empty(shape, options), 0});
  }
  return cache;
}

BlockImpl::BlockImpl(const LmConfig& config) {
  attention = register_module("attention", Attention(config));
  attention_norm = register_module("attention_norm", RmsNorm(config.dim, config.norm_eps));
  ffn_norm = register_module("ffn_norm", RmsNorm(config.dim, config.norm_eps));
  if (config.use_moe) {
    experts = register_module("feed_forward", MoeFeedForward(config));
  } else {
    feed_forward = register_module("feed_forward", FeedForward(config));
  }
}

torch::Tensor BlockImpl::forward(const torch::Tensor& hidden, const torch::Tensor& rotations, LayerCache* cache,
                                 const torch::Tensor& rows, const torch::Tensor& valid) {
  // In training the experts' auxiliary loss needs every token: rows are then chosen at the end.
  const bool late_rows = rows.defined() && !experts.is_empty() && is_training();
  const at::Tensor early_rows = late_rows ? at::Tensor() : rows;
  const at::Tensor residual = early_rows.defined() ? hidden.flatten(0, 1).index_select(0, rows) : hidden;
  const at::Tensor attended =
      residual + attention->forward(attention_norm->forward(hidden), rotations, cache, early_rows);
  const at::Tensor normed = ffn_norm->forward(attended);
  at::Tensor output;
  if (!experts.is_empty()) {
    const at::Tensor valid_rows =
        early_rows.defined() && valid.defined() ? valid.flatten().index_select(0, rows) : valid;
    output = attended + experts->forward(normed, valid_rows);
  } else {
    output = attended + feed_forward->forward(normed);
  }
  return late_rows ? output.flatten(0, 1).index_select(0, rows) : output;
}

LanguageModelImpl::LanguageModelImpl(const LmConfig& config) : config_(config) {
  config_.validate();
  tok_embeddings = register_module("tok_embeddings", Embedding(config.vocab_size, config.dim));
  layers = register_module("layers", std::make_shared<ModuleListImpl<Block>>());
  for (int64_t layer = 0; layer < config.n_layers; ++layer) {
    layers->add(Block(config));
  }
  norm = register_module("norm", RmsNorm(config.dim, config.norm_eps));
}

torch::Tensor LanguageModelImpl::embed(const torch::Tensor& ids) const {
  if (ids.is_cpu() && ids.numel() > 0) {
    const auto [lowest, highest] = at::aminmax(ids);
    require(lowest.item<int64_t>() >= 0 && highest.item<int64_t>() < config_.vocab_size, "token ids: expected 0 to ",
            config_.vocab_size - 1, " (vocab_size ", config_.vocab_size, "), found ",
            lowest.item<int64_t>() < 0 ? lowest.item<int64_t>() : highest.item<int64_t>(),
            "; does the tokenizer belong to this model?");
  }
  return drop_out(tok_embeddings->forward(ids), config_.dropout, tok_embeddings->is_training());
}

torch::Tensor LanguageModelImpl::forward(const torch::Tensor& embeddings, const LmPass& pass) {
  require(embeddings.dim() == 3 && embeddings.size(2) == config_.dim, "language model: expected embeddings [B, S, ",
          config_.dim, "], found ", embeddings.sizes());
  if (pass.cache != nullptr && pass.cache->layers.size() != static_cast<size_t>(config_.n_layers)) {
    throw std::logic_error("LanguageModel::forward: the cache belongs to another model");
  }
  const int64_t start = pass.cache != nullptr ? pass.cache->length() : 0;
  const at::Tensor positions = rotations(start, embeddings.size(1), embeddings.device());
  std::optional<at::NoGradGuard> without_gradients;
  if (pass.cache != nullptr) {
    without_gradients.emplace();
  }
  at::Tensor hidden = embeddings;
  for (size_t layer = 0; layer < layers->items().size(); ++layer) {
    const bool last = layer + 1 == layers->items().size();
    LayerCache* cache = pass.cache != nullptr ? &pass.cache->layers[layer] : nullptr;
    hidden = layers->items()[layer]->forward(hidden, positions, cache, last ? pass.rows : at::Tensor(), pass.valid);
  }
  return norm->forward(hidden);
}

torch::Tensor LanguageModelImpl::rotations(int64_t start, int64_t count, const torch::Device& device) {
  constexpr int64_t kFewest = 512;
  const int64_t filled = rotations_.defined() && rotations_.device() == device ? rotations_.size(0) : 0;
  if (filled < start + count) {
    rotations_ = rope_rotations(config_.head_dim(), std::max({start + count, 2 * filled, kFewest}), device);
  }
  return rotations_.narrow(0, start, count);
}

torch::Tensor LanguageModelImpl::logits(const torch::Tensor& hidden) const {
  return at::linear(hidden, tok_embeddings->weight);
}

torch::Tensor LanguageModelImpl::auxiliary_loss() const {
  at::Tensor sum;
  for (const Block& block : layers->items()) {
    if (!block->experts.is_empty() && block->experts->auxiliary_loss().defined()) {
      sum = sum.defined() ? sum + block->experts->auxiliary_loss() : block->experts->auxiliary_loss();
    }
  }
  return sum;
}

torch::Tensor LanguageModelImpl::expert_load() const {
  std::vector<at::Tensor> loads;
  for (const Block& block : layers->items()) {
    if (!block->experts.is_empty() && block->experts->expert_load().defined()) {
      loads.push_back(block->experts->expert_load());
    }
  }
  return loads.empty() ? at::Tensor() : at::stack(loads);
}

}  // namespace minimind
