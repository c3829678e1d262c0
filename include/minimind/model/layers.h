#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "minimind/model/config.h"

namespace minimind {

class PackedLinear;

/// `x · weight^T (+ bias)`. The weight is zero until initialise() or a load fills it; torch::nn::Linear would spend a
/// second on random numbers that nobody reads. State keys: weight, bias.
class LinearImpl : public torch::nn::Module {
 public:
  LinearImpl(int64_t in, int64_t out, bool with_bias = false, torch::Dtype dtype = torch::kFloat32);
  /// [..., in] → [..., out].
  torch::Tensor forward(const torch::Tensor& input) const;

  torch::Tensor weight;  ///< [out, in]
  torch::Tensor bias;    ///< [out]; undefined without a bias
  /// In place of weight and bias, if it is set: for a model that is only used. Such a layer has no gradients.
  std::shared_ptr<const PackedLinear> packed;
};
TORCH_MODULE(Linear);

/// Token embeddings, also the output head. State key: weight.
class EmbeddingImpl : public torch::nn::Module {
 public:
  EmbeddingImpl(int64_t count, int64_t dim);
  /// ids int64 [...] → [..., D]. The backward is deterministic.
  torch::Tensor forward(const torch::Tensor& ids) const;

  torch::Tensor weight;  ///< [V, D]
};
TORCH_MODULE(Embedding);

/// `x / sqrt(mean(x²) + eps)` in float32, rounded to the dtype of x, times the weight. State key: weight, initially
/// ones.
class RmsNormImpl : public torch::nn::Module {
 public:
  RmsNormImpl(int64_t dim, double eps);
  /// [..., D] → [..., D].
  torch::Tensor forward(const torch::Tensor& input) const;

  torch::Tensor weight;  ///< [D]

 private:
  double eps_;
};
TORCH_MODULE(RmsNorm);

/// SwiGLU: `w2(silu(w1 x) * w3 x)`, followed by dropout in training. State keys: w1, w2, w3 (.weight).
class FeedForwardImpl : public torch::nn::Module {
 public:
  explicit FeedForwardImpl(const LmConfig& config);
  /// [..., D] → [..., D].
  torch::Tensor forward(const torch::Tensor& input) const;

  Linear w1 = nullptr;  ///< [F, D]
  Linear w2 = nullptr;  ///< [D, F]
  Linear w3 = nullptr;  ///< [F, D]

 private:
  double dropout_;
};
TORCH_MODULE(FeedForward);

/// Keys and values of one layer: [B, K, capacity, d], of which the first `length` positions are filled.
struct LayerCache {
  torch::Tensor keys;
  torch::Tensor values;
  int64_t length = 0;
};

/// Grouped-query causal self-attention with interleaved rotary positions. Key/value head k serves the query heads
/// k*H/K to (k+1)*H/K - 1. State keys: wq, wk, wv, wo (.weight). SPEC.md section 1.
class AttentionImpl : public torch::nn::Module {
 public:
  explicit AttentionImpl(const LmConfig& config);
  /// hidden [B, S, D]; rotations complex64 [S, d/2] of the positions [start, start + S). cache: null in training; else
  /// it holds the positions [0, start) and grows by S. rows (int64 [R], flat indices into B*S; may be undefined):
  /// positions to return. Returns [B, S, D], or [R, D] with rows. Throws Error if hidden is not [*, *, D] or the cache
  /// is full.
  torch::Tensor forward(const torch::Tensor& hidden, const torch::Tensor& rotations, LayerCache* cache = nullptr,
                        const torch::Tensor& rows = {});

  Linear wq = nullptr;  ///< [H*d, D]
  Linear wk = nullptr;  ///< [K*d, D]
  Linear wv = nullptr;  ///< [K*d, D]
  Linear wo = nullptr;  ///< [D, H*d]

 private:
  int64_t dim_;
  int64_t n_heads_;
  int64_t n_kv_heads_;
  int64_t head_dim_;
  double dropout_;
};
TORCH_MODULE(Attention);

/// softmax(queries · keys^T / sqrt(d)) · values with a causal mask. queries [B, S, H, d]; keys and values [B, K, T, d];
/// query i sees the keys [0, T - S + i]. dropout: probability with which an attention weight is dropped. Returns
/// [B, S, H*d].
torch::Tensor grouped_query_attention(const torch::Tensor& queries, const torch::Tensor& keys,
                                      const torch::Tensor& values, double dropout = 0.0);

/// A module without parameters of its own that names its children 0, 1, 2, …: `layers.{i}`, `experts.{e}`.
template <class Holder>
class ModuleListImpl : public torch::nn::Module {
 public:
  void add(Holder module) { items_.push_back(register_module(std::to_string(items_.size()), std::move(module))); }
  std::vector<Holder>& items() { return items_; }
  const std::vector<Holder>& items() const { return items_; }

 private:
  std::vector<Holder> items_;
};

/// In training drops each number with this probability and scales the rest up; else returns the tensor itself. Draws
/// from LibTorch's default generator, which the trainer seeds anew for every micro-batch from its seed and step.
torch::Tensor drop_out(const torch::Tensor& tensor, double probability, bool training);

/// Inside autocast the tensor in autocast's dtype, so that several GEMMs share one cast; else the tensor itself.
torch::Tensor to_autocast_dtype(const torch::Tensor& tensor);

}  // namespace minimind
