#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <vector>

#include "infer/decoders.h"
#include "infer/row_matrix.h"
#include "infer/step_team.h"
#include "io/mapped_pages.h"
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
  std::vector<float> hidden, qkv, mixed, inner, added, logits;
};

/// A team member's own.
struct MemberBuffers {
  std::vector<float> normed, scores;
  RowInput input;
};

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

/// So many weights are read before another thread has joined.
constexpr int64_t kWeightsPerMember = 1'000'000;

/// A prompt goes through tensors, a single token through our own kernels alone: no tensor is made there.
class FusedDecoder : public Decoder {
 public:
  FusedDecoder(const Vlm& model, int64_t capacity, WeightFormat format)
      : config_(model->config()), capacity_(capacity), kernels_(best_gemv_kernels()), rope_(config_.head_dim()) {
    const c10::InferenceMode inference;
    const LanguageModel language_model = model->language_model();
    weight_count_ = language_model->tok_embeddings->weight.numel();
    int64_t bytes = RowMatrix::bytes(weight_count_, config_.vocab_size, format);
    for (const Block& block : language_model->layers->items()) {
      for (const std::vector<at::Tensor>& parts : matrices_of(*block)) {
        int64_t weights = 0, rows = 0;
        for (const at::Tensor& part : parts) {
          weights += part.numel();
          rows += part.size(0);
        }
        weight_count_ += weights;
        bytes += RowMatrix::bytes(weights, rows, format);
      }
    }
    WeightArena arena(bytes);
    for (const Block& block : language_model->layers->items()) {
      layers_.push_back(fuse(*block, format, arena));
    }
    embedding_ = pack({language_model->tok_embeddings->weight}, format, arena);
    norm_ = language_model->norm->weight.detach().contiguous();
    rotations_ = at::view_as_real(rope_.slice(0, capacity_, at::kCPU).rotations).contiguous();
    const auto resize = [](std::vector<float>& buffer, int64_t count) { buffer.resize(static_cast<size_t>(count)); };
    resize(step_.hidden, config_.dim);
    resize(step_.added, config_.dim);
    resize(step_.qkv, (config_.n_heads + 2 * config_.n_kv_heads) * config_.head_dim());
    resize(step_.mixed, config_.n_heads * config_.head_dim());
    resize(step_.inner, 2 * config_.inner_dim());
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
    std::copy_n(last.const_data_ptr<float>(), config_.dim, step_.hidden.data());
    run_team([this](const StepTeam::Member& member) { write_logits(member); });
    return step_.logits;
  }

  std::span<const float> step(TokenId id) override {
    check_room(length_, 1, capacity_);
    require(id >= 0 && id < config_.vocab_size, "token ids: expected 0 to ", config_.vocab_size - 1, ", found ", id);
    const c10::InferenceMode inference;
    embedding_.copy_row(id, step_.hidden.data());
    run_team([this](const StepTeam::Member& member) {
      for (FusedLayer& layer : layers_) {
        attend_row(layer, member);
        feed_row_forward(layer, member);
      }
      write_logits(member);
    });
    ++length_;
    return step_.logits;
  }

  int64_t length() const override { return length_; }
  int64_t capacity() const override { return capacity_; }

 private:
  /// What is multiplied with the same input, matrix by matrix: q, k and v; o; w1 and w3; w2.
  static std::vector<std::vector<at::Tensor>> matrices_of(const BlockImpl& block) {
    const AttentionImpl& attention = *block.attention;
    const FeedForwardImpl& feed_forward = *block.feed_forward;
    return {{attention.wq->weight, attention.wk->weight, attention.wv->weight},
            {attention.wo->weight},
            {feed_forward.w1->weight, feed_forward.w3->weight},
            {feed_forward.w2->weight}};
  }

  /// The copy is what is used from now on: the file's pages may go.
  RowMatrix pack(const std::vector<at::Tensor>& parts, WeightFormat format, WeightArena& arena) const {
    RowMatrix matrix(parts, format, kernels_, arena);
    for (const at::Tensor& part : parts) {
      release_mapped_pages(part);
    }
    return matrix;
  }

  FusedLayer fuse(const BlockImpl& block, WeightFormat format, WeightArena& arena) const {
    const std::vector<std::vector<at::Tensor>> matrices = matrices_of(block);
    // Its memory comes with the tokens that fill it.
    const at::Tensor cache = at::empty({2, config_.n_kv_heads, capacity_, config_.head_dim()});
    return {.attention_norm = block.attention_norm->weight.detach().contiguous(),
            .qkv = pack(matrices[0], format, arena),
            .out = pack(matrices[1], format, arena),
            .ffn_norm = block.ffn_norm->weight.detach().contiguous(),
            .gate_up = pack(matrices[2], format, arena),
            .down = pack(matrices[3], format, arena),
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

  void run_team(const std::function<void(const StepTeam::Member&)>& work) {
    const int64_t most = weight_count_ / kWeightsPerMember;
    const auto members = static_cast<size_t>(std::max<int64_t>(1, std::min<int64_t>(most, at::get_num_threads())));
    if (members_.size() < members) {
      members_.resize(members);
      for (MemberBuffers& member : members_) {
        member.normed.resize(static_cast<size_t>(config_.dim));
        member.scores.resize(static_cast<size_t>(capacity_));
      }
    }
    team_.run(static_cast<int64_t>(members), work);
  }

  MemberBuffers& buffers(const StepTeam::Member& member) { return members_[static_cast<size_t>(member.begin)]; }

  /// step_.hidden, normalised and prepared for `matrix`; each member does it for itself.
  void prepare_hidden(const at::Tensor& weight, const RowMatrix& matrix, MemberBuffers& own) const {
    const float* const hidden = step_.hidden.data();
    const auto* const scale = weight.const_data_ptr<float>();
    float squares = 0;
    kernels_.gemv_float32(hidden, hidden, &squares, 1, config_.dim);
    const float mean = squares / static_cast<float>(config_.dim);
    const float inverse = 1.0F / std::sqrt(mean + static_cast<float>(config_.norm_eps));
    for (int64_t i = 0; i < config_.dim; ++i) {
      own.normed[static_cast<size_t>(i)] = hidden[i] * inverse * scale[i];
    }
    matrix.prepare(own.normed.data(), own.input);
  }

  /// This member's rows of the product, and step_.hidden grown by them.
  void add_product(const RowMatrix& matrix, const float* x, const StepTeam::Member& member) {
    RowInput& input = buffers(member).input;
    matrix.prepare(x, input);
    const int64_t first = member.first(config_.dim), last = member.last(config_.dim);
    matrix.multiply(input, step_.added.data(), first, last);
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i) {
      step_.hidden[i] += step_.added[i];
    }
    member.meet();
  }

  /// The attention of the position length_; extends the cache.
  void attend_row(FusedLayer& layer, const StepTeam::Member& member) {
    MemberBuffers& own = buffers(member);
    prepare_hidden(layer.attention_norm, layer.qkv, own);
    layer.qkv.multiply(own.input, step_.qkv.data(), member.first(layer.qkv.rows()), member.last(layer.qkv.rows()));
    member.meet();
    for (int64_t head = member.first(config_.n_kv_heads); head < member.last(config_.n_kv_heads); ++head) {
      attend_heads(layer, head, own.scores.data());
    }
    member.meet();
    add_product(layer.out, step_.mixed.data(), member);
  }

  /// The query heads of one key/value head.
  void attend_heads(FusedLayer& layer, int64_t kv_head, float* scores) {
    const int64_t width = config_.head_dim(), n_heads = config_.n_heads, n_kv_heads = config_.n_kv_heads;
    const int64_t group = n_heads / n_kv_heads, held = length_ + 1;
    const float scale = 1.0F / std::sqrt(static_cast<float>(width));
    const float* const rotations = rotations_.const_data_ptr<float>() + length_ * width;
    float* const new_key = step_.qkv.data() + (n_heads + kv_head) * width;
    const float* const new_value = step_.qkv.data() + (n_heads + n_kv_heads + kv_head) * width;
    float* const keys = layer.keys.mutable_data_ptr<float>() + kv_head * capacity_ * width;
    float* const values = layer.values.mutable_data_ptr<float>() + kv_head * capacity_ * width;
    turn_row(new_key, rotations, 1, width);
    std::copy_n(new_key, width, keys + length_ * width);
    std::copy_n(new_value, width, values + length_ * width);
    for (int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
      float* const query = step_.qkv.data() + head * width;
      turn_row(query, rotations, 1, width);
      for (int64_t i = 0; i < width; ++i) {
        query[i] *= scale;
      }
      kernels_.gemv_float32(keys, query, scores, held, width);
      kernels_.softmax(scores, held);
      kernels_.weighted_sum(values, scores, step_.mixed.data() + head * width, held, width);
    }
  }

  void feed_row_forward(const FusedLayer& layer, const StepTeam::Member& member) {
    MemberBuffers& own = buffers(member);
    const int64_t inner = config_.inner_dim(), first = member.first(inner), last = member.last(inner);
    float* const gate = step_.inner.data();
    prepare_hidden(layer.ffn_norm, layer.gate_up, own);
    layer.gate_up.multiply(own.input, gate, first, last);
    layer.gate_up.multiply(own.input, gate, inner + first, inner + last);
    kernels_.swiglu(gate + first, gate + inner + first, last - first);
    member.meet();
    add_product(layer.down, gate, member);
  }

  void write_logits(const StepTeam::Member& member) {
    MemberBuffers& own = buffers(member);
    prepare_hidden(norm_, embedding_, own);
    embedding_.multiply(own.input, step_.logits.data(), member.first(config_.vocab_size),
                        member.last(config_.vocab_size));
  }

  LmConfig config_;
  int64_t capacity_;
  const GemvKernels& kernels_;
  RopeTable rope_;
  RowMatrix embedding_;  ///< [V, D], the output head too
  at::Tensor norm_;
  at::Tensor rotations_;  ///< float32 [capacity, d]: cos, sin, cos, sin, … of each position
  std::vector<FusedLayer> layers_;
  StepBuffers step_;
  std::vector<MemberBuffers> members_;
  StepTeam team_;
  int64_t weight_count_ = 0;
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
