#include "infer/graph_decoder.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "model/device_copy.h"
#include "model/ops/rope.h"

namespace minimind {

namespace {

// Positions of a window; a longer sequence takes the next one.
constexpr int64_t kWindow = 128;
constexpr size_t kMostGraphs = 64;

}  // namespace

GraphDecoder::GraphDecoder(std::shared_ptr<LanguageModelImpl> model, int64_t capacity, Recorder recorder)
    : LayerDecoder(std::move(model), capacity), steps_(std::move(recorder), kMostGraphs, "decoding") {
  const LmConfig& config = model_->config();
  const at::TensorOptions options = model_->head_weight().options();
  rotations_ = rope_rotations(config.head_dim(), capacity, model_->head_weight().device());
  token_ = at::zeros({1}, options.dtype(at::kLong));
  position_ = at::zeros({1}, options.dtype(at::kLong));
  step_logits_ = at::zeros({1, config.vocab_size}, options.dtype(at::kFloat));
  // A masked position adds zero times its value, which must be a number.
  for (LayerCache& layer : cache_.layers) {
    layer.keys.zero_();
    layer.values.zero_();
  }
}

std::span<const float> GraphDecoder::step(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) {
  const c10::NoGradGuard without_gradients;
  const c10::Device device = token_.device();
  token_.copy_(index_tensor({checked_token(sequences, tokens)}, device), /*non_blocking=*/true);
  const int64_t position = cache_.length();
  position_.copy_(index_tensor({position}, device), /*non_blocking=*/true);
  const int64_t window = std::min(capacity(), (position / kWindow + 1) * kWindow);
  steps_.run(window, [this, window] { compute(window); });
  for (LayerCache& layer : cache_.layers) {
    layer.length = position + 1;
  }
  host_logits_ = step_logits_.cpu();
  return {host_logits_.const_data_ptr<float>(), static_cast<size_t>(host_logits_.numel())};
}

void GraphDecoder::compute(int64_t window) {
  const c10::NoGradGuard without_gradients;
  const at::Tensor rotations = rotations_.index_select(0, position_);
  const at::Tensor hidden_positions = at::arange(window, position_.options()).gt(position_);
  at::Tensor hidden = model_->embed(token_.view({1, 1})).to(at::kFloat);  // [1, 1, D]
  for (size_t layer = 0; layer < cache_.layers.size(); ++layer) {
    BlockImpl& block = *model_->layers->items()[layer];
    const at::Tensor input = block.attention_norm->forward(hidden);
    hidden = hidden + attend(*block.attention, cache_.layers[layer], input, rotations, hidden_positions);
    const at::Tensor normed = block.ffn_norm->forward(hidden);
    hidden = hidden + (block.experts.is_empty() ? block.feed_forward->forward(normed) : block.experts->forward(normed));
  }
  step_logits_.copy_(logits_of(model_->norm->forward(hidden).view({1, -1})));
}

at::Tensor GraphDecoder::attend(AttentionImpl& attention, LayerCache& cache, const at::Tensor& input,
                                const at::Tensor& rotations, const at::Tensor& hidden_positions) const {
  const LmConfig& config = model_->config();
  const int64_t heads = config.n_kv_heads, width = config.head_dim(), window = hidden_positions.size(0);
  const at::Tensor queries = apply_rope(attention.wq->forward(input).view({1, 1, config.n_heads, width}), rotations);
  const at::Tensor keys = apply_rope(attention.wk->forward(input).view({1, 1, heads, width}), rotations);
  const at::Tensor values = attention.wv->forward(input).view({1, heads, 1, width});
  cache.keys.index_copy_(2, position_, keys.reshape({1, heads, 1, width}).to(cache.keys.scalar_type()));
  cache.values.index_copy_(2, position_, values.to(cache.values.scalar_type()));
  // The queries of one key/value head are the rows of one matmul: keys are never repeated.
  const at::Tensor rows = queries.reshape({heads, -1, width}).to(cache.keys.scalar_type());
  const at::Tensor scores = at::bmm(rows, cache.keys[0].narrow(1, 0, window).transpose(1, 2)).to(at::kFloat);
  const at::Tensor weights = at::softmax(scores.mul(1.0 / std::sqrt(static_cast<double>(width)))
                                             .masked_fill(hidden_positions, -std::numeric_limits<float>::infinity()),
                                         -1);
  const at::Tensor output =
      at::bmm(weights.to(cache.values.scalar_type()), cache.values[0].narrow(1, 0, window));  // [K, H/K, d]
  return attention.wo->forward(output.reshape({1, 1, config.n_heads * width}));
}

}  // namespace minimind
