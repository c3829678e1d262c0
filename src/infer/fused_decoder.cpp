#include "infer/fused_decoder.h"

#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include "infer/layer_decoder.h"
#include "infer/thread_team.h"
#include "io/mapped_pages.h"
#include "kernels/gemv.h"
#include "model/bfloat16_products.h"
#include "model/ops/activations.h"
#include "model/ops/rms_norm.h"
#include "model/ops/rope.h"
#include "model/packed_linear.h"
#include "model/skip_init.h"

namespace minimind {

namespace {

/// The weights of one layer.
struct PackedLayer {
  at::Tensor attention_norm;  ///< [D]
  PackedLinear qkv;           ///< [(H + 2K) d, D]: wq, wk, wv
  PackedLinear out;           ///< [D, H d]
  at::Tensor ffn_norm;        ///< [D]
  PackedLinear gate_up;       ///< [2F, D]: w1, w3
  PackedLinear down;          ///< [D, F]
};

/// A language model whose linear layers hold packed weights, and these weights as a decoding step uses them.
struct PackedModel {
  std::shared_ptr<LanguageModelImpl> model;
  std::vector<PackedLayer> layers;
  PackedLinear head;  ///< [V, D], the embedding too
  int64_t weight_count = 0;
};

/// The linear layers of a block; those in one list multiply the same input.
std::vector<std::vector<Linear>> linears_of(const BlockImpl& block) {
  const AttentionImpl& attention = *block.attention;
  const FeedForwardImpl& feed_forward = *block.feed_forward;
  return {{attention.wq, attention.wk, attention.wv},
          {attention.wo},
          {feed_forward.w1, feed_forward.w3},
          {feed_forward.w2}};
}

std::vector<at::Tensor> weights_of(const std::vector<Linear>& linears) {
  std::vector<at::Tensor> weights;
  for (const Linear& linear : linears) {
    weights.push_back(linear->weight);
  }
  return weights;
}

class Packer {
 public:
  Packer(const LanguageModelImpl& source, WeightFormat format) : format_(format), arena_(bytes_of(source, format)) {}

  /// Packs weights below each other and gives back the pages of their file.
  PackedLinear pack(const std::vector<at::Tensor>& weights) {
    PackedLinear packed(weights, format_, gemm_kernels(format_), arena_);
    for (const at::Tensor& weight : weights) {
      release_mapped_pages(weight);
    }
    return packed;
  }

  /// The same for the weights of linear layers; the layers `to` get their rows.
  PackedLinear pack(const std::vector<Linear>& from, std::vector<Linear> to) {
    PackedLinear packed = pack(weights_of(from));
    int64_t first = 0;
    for (size_t i = 0; i < from.size(); ++i) {
      const int64_t rows = from[i]->weight.size(0);
      to[i]->packed = std::make_shared<PackedLinear>(packed.range(first, rows));
      first += rows;
    }
    return packed;
  }

 private:
  static int64_t bytes_of(const LanguageModelImpl& source, WeightFormat format) {
    int64_t bytes = PackedLinear::bytes({source.head_weight()}, format);
    for (const Block& block : source.layers->items()) {
      for (const std::vector<Linear>& linears : linears_of(*block)) {
        bytes += PackedLinear::bytes(weights_of(linears), format);
      }
    }
    return bytes;
  }

  WeightFormat format_;
  WeightArena arena_;
};

PackedModel pack_model(const LanguageModelImpl& source, WeightFormat format) {
  const c10::NoGradGuard without_gradients;
  PackedModel packed;
  {
    const SkipInit without_matrices;
    packed.model = std::make_shared<LanguageModelImpl>(source.config());
  }
  packed.model->eval();
  Packer packer(source, format);
  const auto share = [](const RmsNorm& from, RmsNorm& to) {
    to->weight.set_data(from->weight.detach().contiguous());
    return to->weight.detach();
  };
  for (size_t layer = 0; layer < source.layers->items().size(); ++layer) {
    const BlockImpl& from = *source.layers->items()[layer];
    BlockImpl& to = *packed.model->layers->items()[layer];
    const std::vector<std::vector<Linear>> sources = linears_of(from), targets = linears_of(to);
    packed.layers.push_back({.attention_norm = share(from.attention_norm, to.attention_norm),
                             .qkv = packer.pack(sources[0], targets[0]),
                             .out = packer.pack(sources[1], targets[1]),
                             .ffn_norm = share(from.ffn_norm, to.ffn_norm),
                             .gate_up = packer.pack(sources[2], targets[2]),
                             .down = packer.pack(sources[3], targets[3])});
    for (const std::vector<Linear>& linears : sources) {
      for (const Linear& linear : linears) {
        packed.weight_count += linear->weight.numel();
      }
    }
  }
  packed.head = packer.pack({source.head_weight()});
  packed.weight_count += source.head_weight().numel();
  share(source.norm, packed.model->norm);
  return packed;
}

/// Working memory of one decoding step.
struct StepBuffers {
  std::vector<float> hidden, qkv, attended, inner, added, logits;
};

/// Working memory of one worker.
struct WorkerBuffers {
  std::vector<float> normed, scores;
  PackedInput input;
};

/// A thread has read so many weights before another one has woken up.
constexpr int64_t kWeightsPerWorker = 1'000'000;

class FusedDecoder : public LayerDecoder {
 public:
  FusedDecoder(PackedModel packed, int64_t capacity)
      : LayerDecoder(packed.model, capacity), config_(packed.model->config()), packed_(std::move(packed)) {
    norm_ = model_->norm->weight.detach();
    rotations_ = at::view_as_real(rope_rotations(config_.head_dim(), capacity, at::kCPU)).contiguous();
    const auto resize = [](std::vector<float>& buffer, int64_t count) { buffer.resize(static_cast<size_t>(count)); };
    resize(step_.hidden, config_.dim);
    resize(step_.added, config_.dim);
    resize(step_.qkv, (config_.n_heads + 2 * config_.n_kv_heads) * config_.head_dim());
    resize(step_.attended, config_.n_heads * config_.head_dim());
    resize(step_.inner, 2 * config_.inner_dim());
    resize(step_.logits, config_.vocab_size);
  }

  std::span<const float> step(std::span<const SequenceId> sequences, std::span<const TokenId> tokens) override {
    const TokenId id = checked_token(sequences, tokens);
    const c10::InferenceMode inference;
    packed_.head.copy_row(id, step_.hidden.data());
    run_team([this](const ThreadTeam::Worker& worker) {
      for (size_t layer = 0; layer < packed_.layers.size(); ++layer) {
        attend(packed_.layers[layer], cache_.layers[layer], worker);
        feed_forward(packed_.layers[layer], worker);
      }
      write_logits(worker);
    });
    for (LayerCache& layer : cache_.layers) {
      ++layer.length;
    }
    return step_.logits;
  }

 protected:
  at::Tensor logits_of(const at::Tensor& hidden) const override { return packed_.head.multiply(hidden); }

 private:
  void run_team(const std::function<void(const ThreadTeam::Worker&)>& work) {
    const int64_t most =
        std::clamp<int64_t>(packed_.weight_count / kWeightsPerWorker, 1, std::max(1, at::get_num_threads()));
    while (std::ssize(workers_) < most) {
      WorkerBuffers& own = workers_.emplace_back();
      own.normed.resize(static_cast<size_t>(config_.dim));
      own.scores.resize(static_cast<size_t>(capacity()));
    }
    team_.run(most, work);
  }

  WorkerBuffers& buffers(const ThreadTeam::Worker& worker) { return workers_[static_cast<size_t>(worker.begin)]; }

  /// step_.hidden, normalised and prepared for `linear`. Each worker does it for itself.
  void prepare_hidden(const at::Tensor& norm, const PackedLinear& linear, WorkerBuffers& own) const {
    rms_norm_row(step_.hidden.data(), norm.const_data_ptr<float>(), config_.norm_eps, own.normed.data(), config_.dim);
    linear.prepare(own.normed.data(), own.input);
  }

  /// Adds this worker's rows of the product with x to step_.hidden.
  void add_to_hidden(const PackedLinear& linear, const float* x, const ThreadTeam::Worker& worker) {
    PackedInput& input = buffers(worker).input;
    linear.prepare(x, input);
    const int64_t first = worker.first(config_.dim), last = worker.last(config_.dim);
    linear.multiply(input, step_.added.data(), first, last);
    for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i) {
      step_.hidden[i] += step_.added[i];
    }
    worker.barrier();
  }

  /// The attention of the new position; appends its key and value to the cache.
  void attend(const PackedLayer& layer, LayerCache& cache, const ThreadTeam::Worker& worker) {
    WorkerBuffers& own = buffers(worker);
    prepare_hidden(layer.attention_norm, layer.qkv, own);
    layer.qkv.multiply(own.input, step_.qkv.data(), worker.first(layer.qkv.rows()), worker.last(layer.qkv.rows()));
    worker.barrier();
    for (int64_t head = worker.first(config_.n_kv_heads); head < worker.last(config_.n_kv_heads); ++head) {
      attend_heads(cache, head, own.scores.data());
    }
    worker.barrier();
    add_to_hidden(layer.out, step_.attended.data(), worker);
  }

  /// The query heads of one key/value head.
  void attend_heads(LayerCache& cache, int64_t kv_head, float* scores) {
    const int64_t width = config_.head_dim(), n_heads = config_.n_heads, n_kv_heads = config_.n_kv_heads;
    const int64_t heads_per_kv_head = n_heads / n_kv_heads, position = cache.length;
    const float scale = 1.0F / std::sqrt(static_cast<float>(width));
    const float* const rotations = rotations_.const_data_ptr<float>() + position * width;
    const float* const new_key = step_.qkv.data() + (n_heads + kv_head) * width;
    const float* const new_value = new_key + n_kv_heads * width;
    float* const keys = cache.keys.mutable_data_ptr<float>() + kv_head * capacity() * width;
    float* const values = cache.values.mutable_data_ptr<float>() + kv_head * capacity() * width;
    rope_row(new_key, rotations, 1.0F, keys + position * width, 1, width);
    std::copy_n(new_value, width, values + position * width);
    for (int64_t head = kv_head * heads_per_kv_head; head < (kv_head + 1) * heads_per_kv_head; ++head) {
      float* const query = step_.qkv.data() + head * width;
      rope_row(query, rotations, 1.0F, query, 1, width);
      for (int64_t i = 0; i < width; ++i) {
        query[i] *= scale;
      }
      kernels_.gemv_float32(keys, query, scores, position + 1, width);
      kernels_.softmax(scores, position + 1);
      kernels_.weighted_sum(values, scores, step_.attended.data() + head * width, position + 1, width);
    }
  }

  void feed_forward(const PackedLayer& layer, const ThreadTeam::Worker& worker) {
    WorkerBuffers& own = buffers(worker);
    const int64_t inner = config_.inner_dim(), first = worker.first(inner), last = worker.last(inner);
    float* const gate = step_.inner.data();
    prepare_hidden(layer.ffn_norm, layer.gate_up, own);
    layer.gate_up.multiply(own.input, gate, first, last);
    layer.gate_up.multiply(own.input, gate, inner + first, inner + last);
    swiglu_row(gate + first, gate + inner + first, gate + first, last - first);
    worker.barrier();
    add_to_hidden(layer.down, gate, worker);
  }

  void write_logits(const ThreadTeam::Worker& worker) {
    WorkerBuffers& own = buffers(worker);
    prepare_hidden(norm_, packed_.head, own);
    packed_.head.multiply(own.input, step_.logits.data(), worker.first(config_.vocab_size),
                          worker.last(config_.vocab_size));
  }

  LmConfig config_;
  PackedModel packed_;
  const GemvKernels& kernels_ = best_gemv_kernels();
  at::Tensor norm_;       ///< [D], before the output head
  at::Tensor rotations_;  ///< float32 [capacity, d]: cos, sin, cos, sin, … of each position
  StepBuffers step_;
  std::vector<WorkerBuffers> workers_;
  ThreadTeam team_;
};

}  // namespace

std::unique_ptr<Decoder> make_fused_decoder(const Vlm& model, int64_t capacity, WeightFormat format) {
  return std::make_unique<FusedDecoder>(pack_model(*model, format), capacity);
}

}  // namespace minimind
