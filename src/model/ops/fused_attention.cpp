#include "model/ops/fused_attention.h"

#include <ATen/ops/full.h>
#include <ATen/ops/scaled_dot_product_attention.h>

#include <cmath>
#include <optional>

namespace minimind {
namespace {

/// [B, K, T, d] → [B, K*times, T, d]; the copies of a head are neighbours.
at::Tensor repeat_heads(const at::Tensor& heads, int64_t times) {
  return heads.unsqueeze(2).expand({-1, -1, times, -1, -1}).flatten(1, 2);
}

}  // namespace

at::Tensor causal_bias(int64_t queries, int64_t keys, const at::TensorOptions& options) {
  return at::full({queries, keys}, -INFINITY, options).triu_(keys - queries + 1);
}

at::Tensor fused_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, double dropout,
                           bool takes_fewer_kv_heads) {
  const int64_t count = queries.size(1), heads_per_kv_head = queries.size(2) / keys.size(1);
  const bool square = count == keys.size(2);
  std::optional<at::Tensor> bias;
  if (!square && count > 1) {
    bias = causal_bias(count, keys.size(2), queries.options());
  }
  const bool repeats = heads_per_kv_head > 1 && !takes_fewer_kv_heads;
  const at::Tensor output = at::scaled_dot_product_attention(
      queries.transpose(1, 2), repeats ? repeat_heads(keys, heads_per_kv_head) : keys,
      repeats ? repeat_heads(values, heads_per_kv_head) : values, bias, dropout, /*is_causal=*/square && count > 1,
      /*scale=*/std::nullopt, /*enable_gqa=*/heads_per_kv_head > 1 && !repeats);  // [B, H, S, d]
  return output.transpose(1, 2).flatten(2);
}

}  // namespace minimind
