#include "minimind/model/language_model.h"

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

#include "minimind/base/error.h"
#include "model/ops/rope.h"

namespace minimind {

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr int64_t kIgnoredTarget = 0;

/// Sum of the cross-entropies of the rows. Both gradients are linear in the incoming scalar: the forward computes them
/// chunk by chunk, so that no logits are saved.
class HeadLossFunction : public torch::autograd::Function<HeadLossFunction> {
 public:
  static at::Tensor forward(AutogradContext* context, const at::Tensor& hidden, const at::Tensor& weight,
                            const at::Tensor& targets, int64_t chunk, bool with_gradients) {
    const at::Tensor cast_hidden = to_autocast_dtype(hidden);
    const at::Tensor cast_weight = to_autocast_dtype(weight).to(cast_hidden.scalar_type());
    const int64_t rows = hidden.size(0);
    at::Tensor sum = at::zeros({}, hidden.options().dtype(at::kFloat));
    std::vector<at::Tensor> hidden_gradients;
    at::Tensor weight_gradient;
    for (int64_t start = 0; start < rows; start += chunk) {
      const int64_t count = std::min(chunk, rows - start);
      const at::Tensor part = cast_hidden.narrow(0, start, count);
      const at::Tensor labels = targets.narrow(0, start, count).unsqueeze(1);
      const at::Tensor keep = labels.ne(kIgnoredTarget);
      at::Tensor scores = at::log_softmax(at::mm(part, cast_weight.t()).to(at::kFloat), 1);  // [count, V]
      sum.sub_((scores.gather(1, labels) * keep).sum());
      if (!with_gradients) {
        continue;
      }
      // d/dlogits = softmax - one_hot; the small operands of the GEMMs are masked, not the scores.
      scores.exp_().scatter_add_(1, labels, at::full_like(labels, -1, scores.options()));
      const at::Tensor gradient = scores.to(cast_hidden.scalar_type());
      hidden_gradients.push_back(at::mm(gradient, cast_weight).to(at::kFloat).mul_(keep));
      const at::Tensor weight_part = at::mm(gradient.t(), part * keep).to(at::kFloat);
      weight_gradient = weight_gradient.defined() ? weight_gradient.add_(weight_part) : weight_part;
    }
    if (with_gradients && rows > 0) {
      context->save_for_backward({at::cat(hidden_gradients), weight_gradient});
    } else {
      context->save_for_backward(
          {at::zeros(hidden.sizes(), hidden.options()), at::zeros(weight.sizes(), weight.options())});
    }
    context->saved_data["hidden_type"] = static_cast<int64_t>(hidden.scalar_type());
    context->saved_data["weight_type"] = static_cast<int64_t>(weight.scalar_type());
    return sum;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const variable_list saved = context->get_saved_variables();
    const auto hidden_type = static_cast<at::ScalarType>(context->saved_data["hidden_type"].toInt());
    const auto weight_type = static_cast<at::ScalarType>(context->saved_data["weight_type"].toInt());
    return {at::mul(saved[0], gradients[0]).to(hidden_type), at::mul(saved[1], gradients[0]).to(weight_type),
            at::Tensor(), at::Tensor(), at::Tensor()};
  }
};

}  // namespace

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
  const at::Tensor& weight = tok_embeddings->weight;
  const bool narrows = weight.scalar_type() == at::kBFloat16 && hidden.scalar_type() == at::kFloat;
  return at::linear(narrows ? hidden.to(at::kBFloat16) : hidden, weight);
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

at::Tensor supervised_rows(const at::Tensor& mask) {
  return mask.flatten().nonzero().flatten();
}

MaskedLoss cross_entropy_of_rows(const at::Tensor& hidden_rows, const at::Tensor& head_weight,
                                 const at::Tensor& targets, int64_t logits_at_once) {
  require(hidden_rows.dim() == 2 && targets.dim() == 1 && hidden_rows.size(0) == targets.size(0),
          "loss: expected hidden [R, D] and targets [R], found ", hidden_rows.sizes(), " and ", targets.sizes());
  const bool with_gradients =
      at::GradMode::is_enabled() && (hidden_rows.requires_grad() || head_weight.requires_grad());
  const int64_t chunk = std::max<int64_t>(1, logits_at_once / head_weight.size(0));
  return {HeadLossFunction::apply(hidden_rows, head_weight, targets, chunk, with_gradients), hidden_rows.size(0)};
}

}  // namespace minimind
