#pragma once

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "minimind/model/config.h"
#include "minimind/model/layers.h"

namespace minimind {

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

}  // namespace minimind
