#include <ATen/Functions.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "chat/detail/decoders.h"
#include "chat/detail/row_matrix.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

/// One layer's weights as decoding wants them: what is multiplied with the same input lies in one matrix.
struct FusedLayer {
  at::Tensor attention_norm;  ///< [D]
  RowMatrix qkv;              ///< [(H + 2K) d, D]
  RowMatrix out;              ///< [D, H d]
  at::Tensor ffn_norm;        ///< [D]
  RowMatrix gate_up;          ///< [2 inner, D]: w1 above w3
  RowMatrix down;             ///< [D, inner]
  at::Tensor keys;            ///< [K, capacity, d]
  at::Tensor values;          ///< [K, capacity, d]
};

/// Working memory of one decoding step.
struct StepBuffers {
  std::vector<float> hidden, normed, qkv, mixed, inner, added, scores, logits;
};

void rms_norm_row(const float* x, const at::Tensor& weight, double eps, float* out) {
  const int64_t count = weight.size(0);
  const auto* scale = weight.const_data_ptr<float>();
  float squares = 0;
  for (int64_t i = 0; i < count; ++i) {
    squares += x[i] * x[i];
  }
  const float inverse = 1.0F / std::sqrt(squares / static_cast<float>(count) + static_cast<float>(eps));
  for (int64_t i = 0; i < count; ++i) {
    out[i] = x[i] * inverse * scale[i];
  }
}

/// The interleaved pairs of `heads` heads by one position's rotations (cos, sin, cos, sin, …).
void turn_row(float* x, const float* rotations, int64_t heads, int64_t width) {
  for (int64_t head = 0; head < heads; ++head, x += width) {
    for (int64_t i = 0; i < width; i += 2) {
      const float real = x[i] * rotations[i] - x[i + 1] * rotations[i + 1];
      x[i + 1] = x[i] * rotations[i + 1] + x[i + 1] * rotations[i];
      x[i] = real;
    }
  }
}

void softmax_row(float* scores, int64_t count) {
  float highest = scores[0];
  for (int64_t i = 1; i < count; ++i) {
    highest = std::max(highest, scores[i]);
  }
  float sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    scores[i] = std::exp(scores[i] - highest);
    sum += scores[i];
  }
  for (int64_t i = 0; i < count; ++i) {
    scores[i] /= sum;
  }
}

/// A prompt goes through the framework's products, a single token through our own kernels: no tensor is made there.
class FusedDecoder : public Decoder {
 public:
  FusedDecoder(const Vlm& model, int64_t capacity, WeightFormat format)
      : config_(model->config()), capacity_(capacity), kernels_(best_row_kernels()), rope_(config_.head_dim()) {
    const c10::InferenceMode inference;
    const LanguageModel language_model = model->language_model();
    embedding_ = RowMatrix(language_model->tok_embeddings->weight, format, kernels_);
    norm_ = language_model->norm->weight.detach();
    for (const Block& block : language_model->layers->items()) {
      layers_.push_back(fuse(*block, format));
    }
    const auto resize = [](std::vector<float>& buffer, int64_t count) { buffer.resize(static_cast<size_t>(count)); };
    resize(step_.hidden, config_.dim);
    resize(step_.normed, config_.dim);
    resize(step_.added, config_.dim);
    resize(step_.qkv, (config_.n_heads + 2 * config_.n_kv_heads) * config_.head_dim());
    resize(step_.mixed, config_.n_heads * config_.head_dim());
    resize(step_.inner, 2 * config_.inner_dim());
    resize(step_.scores, capacity_);
    resize(step_.logits, config_.vocab_size);
  }

  std::span<const float> prefill(const at::Tensor& embeddings) override {
    check_prompt(embeddings, config_.dim, capacity_);
    const c10::InferenceMode inference;
    const int64_t count = embeddings.size(0);
    const RopeSlice rope = rope_.slice(0, count, at::kCPU);
    at::Tensor hidden = embeddings.detach().to(at::kFloat);
    for (FusedLayer& layer : layers_) {
      hidden = at::add(hidden, attend(layer, hidden, rope));
      hidden.add_(feed_forward(layer, hidden));
    }
    length_ = count;
    const at::Tensor last = hidden.select(0, count - 1).contiguous();
    return logits_of(last.const_data_ptr<float>());
  }

  std::span<const float> step(TokenId id) override {
    check_room(length_, 1, capacity_);
    require(id >= 0 && id < config_.vocab_size, "token ids: expected 0 to ", config_.vocab_size - 1, ", found ", id);
    const c10::InferenceMode inference;
    float* hidden = step_.hidden.data();
    embedding_.copy_row(id, hidden);
    const at::Tensor rotations = at::view_as_real(rope_.slice(length_, 1, at::kCPU).rotations).contiguous();
    for (FusedLayer& layer : layers_) {
      rms_norm_row(hidden, layer.attention_norm, config_.norm_eps, step_.normed.data());
      layer.qkv.multiply(step_.normed.data(), step_.qkv.data());
      attend_row(layer, rotations.const_data_ptr<float>());
      layer.out.multiply(step_.mixed.data(), step_.added.data());
      add_to_hidden();
      rms_norm_row(hidden, layer.ffn_norm, config_.norm_eps, step_.normed.data());
      layer.gate_up.multiply(step_.normed.data(), step_.inner.data());
      gate_row();
      layer.down.multiply(step_.inner.data(), step_.added.data());
      add_to_hidden();
    }
    ++length_;
    return logits_of(hidden);
  }

  int64_t length() const override { return length_; }
  int64_t capacity() const override { return capacity_; }

 private:
  FusedLayer fuse(const BlockImpl& block, WeightFormat format) const {
    const AttentionImpl& attention = *block.attention;
    const FeedForwardImpl& feed_forward = *block.feed_forward;
    const auto matrix = [&](const at::Tensor& weights) { return RowMatrix(weights, format, kernels_); };
    const at::Tensor cache = at::zeros({2, config_.n_kv_heads, capacity_, config_.head_dim()});
    return {.attention_norm = block.attention_norm->weight.detach().contiguous(),
            .qkv = matrix(at::cat({attention.wq->weight, attention.wk->weight, attention.wv->weight})),
            .out = matrix(attention.wo->weight),
            .ffn_norm = block.ffn_norm->weight.detach().contiguous(),
            .gate_up = matrix(at::cat({feed_forward.w1->weight, feed_forward.w3->weight})),
            .down = matrix(feed_forward.w2->weight),
            .keys = cache[0],
            .values = cache[1]};
  }

  at::Tensor rms_norm(const at::Tensor& rows, const at::Tensor& weight) const {
    const at::Tensor inverse = rows.square().mean(-1, /*keepdim=*/true).add_(config_.norm_eps).rsqrt_();
    return at::mul(rows, inverse).mul_(weight);
  }

  /// hidden [S, D] of the positions [0, S) → the same shape; fills the cache.
  at::Tensor attend(FusedLayer& layer, const at::Tensor& hidden, const RopeSlice& rope) const {
    const int64_t count = hidden.size(0), width = config_.head_dim();
    const int64_t n_heads = config_.n_heads, n_kv_heads = config_.n_kv_heads;
    const at::Tensor qkv =
        layer.qkv.multiply(rms_norm(hidden, layer.attention_norm)).view({1, count, n_heads + 2 * n_kv_heads, width});
    // Queries and keys are turned together.
    const at::Tensor turned = apply_rope(qkv.narrow(2, 0, n_heads + n_kv_heads), rope);  // [1, S, H + K, d]
    const at::Tensor keys = turned.narrow(2, n_heads, n_kv_heads).transpose(1, 2);       // [1, K, S, d]
    const at::Tensor values = qkv.narrow(2, n_heads + n_kv_heads, n_kv_heads).transpose(1, 2);
    layer.keys.narrow(1, 0, count).copy_(keys[0]);
    layer.values.narrow(1, 0, count).copy_(values[0]);
    return layer.out.multiply(grouped_query_attention(turned.narrow(2, 0, n_heads), keys, values)[0]);
  }

  at::Tensor feed_forward(const FusedLayer& layer, const at::Tensor& hidden) const {
    const at::Tensor both = layer.gate_up.multiply(rms_norm(hidden, layer.ffn_norm));
    const int64_t inner = both.size(1) / 2;
    return layer.down.multiply(at::silu(both.narrow(1, 0, inner)).mul_(both.narrow(1, inner, inner)));
  }

  /// step_.qkv of the position length_ → step_.mixed; extends the cache.
  void attend_row(FusedLayer& layer, const float* rotations) {
    const int64_t width = config_.head_dim(), n_heads = config_.n_heads, n_kv_heads = config_.n_kv_heads;
    const int64_t group = n_heads / n_kv_heads, held = length_ + 1;
    const float scale = 1.0F / std::sqrt(static_cast<float>(width));
    float* const queries = step_.qkv.data();
    turn_row(queries, rotations, n_heads + n_kv_heads, width);
    const float* const new_keys = queries + n_heads * width;
    const float* const new_values = new_keys + n_kv_heads * width;
    for (int64_t kv_head = 0; kv_head < n_kv_heads; ++kv_head) {
      float* const keys = layer.keys.mutable_data_ptr<float>() + kv_head * capacity_ * width;
      float* const values = layer.values.mutable_data_ptr<float>() + kv_head * capacity_ * width;
      std::copy_n(new_keys + kv_head * width, width, keys + length_ * width);
      std::copy_n(new_values + kv_head * width, width, values + length_ * width);
      for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
        float* const query = queries + head * width;
        for (int64_t i = 0; i < width; ++i) {
          query[i] *= scale;
        }
        kernels_.float32(keys, query, step_.scores.data(), held, width);
        softmax_row(step_.scores.data(), held);
        mix_values(values, held, step_.mixed.data() + head * width);
      }
    }
  }

  /// out [d] = scores · values [held, d].
  void mix_values(const float* values, int64_t held, float* out) const {
    const int64_t width = config_.head_dim();
    std::fill_n(out, width, 0.0F);
    for (int64_t position = 0; position < held; ++position, values += width) {
      const float weight = step_.scores[static_cast<size_t>(position)];
      for (int64_t i = 0; i < width; ++i) {
        out[i] += weight * values[i];
      }
    }
  }

  /// silu(first half) * second half of step_.inner, into the first half.
  void gate_row() {
    float* const gate = step_.inner.data();
    const int64_t inner = config_.inner_dim();
    for (int64_t i = 0; i < inner; ++i) {
      gate[i] = gate[i] / (1.0F + std::exp(-gate[i])) * gate[inner + i];
    }
  }

  void add_to_hidden() {
    for (size_t i = 0; i < step_.hidden.size(); ++i) {
      step_.hidden[i] += step_.added[i];
    }
  }

  std::span<const float> logits_of(const float* hidden) {
    rms_norm_row(hidden, norm_, config_.norm_eps, step_.normed.data());
    embedding_.multiply(step_.normed.data(), step_.logits.data());
    return step_.logits;
  }

  LmConfig config_;
  int64_t capacity_;
  const RowKernels& kernels_;
  RopeTable rope_;
  RowMatrix embedding_;  ///< [V, D], the output head too
  at::Tensor norm_;
  std::vector<FusedLayer> layers_;
  StepBuffers step_;
  int64_t length_ = 0;
};

}  // namespace

bool can_fuse(const Vlm& model) {
  const at::Tensor& weight = model->head_weight();
  return weight.is_cpu() && weight.scalar_type() == at::kFloat && !model->config().use_moe;
}

std::unique_ptr<Decoder> make_fused_decoder(const Vlm& model, int64_t capacity, WeightFormat format) {
  return std::make_unique<FusedDecoder>(model, capacity, format);
}

}  // namespace minimind::detail
