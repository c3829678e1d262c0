#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

/// 0 if query i sees key j, else -inf: [S, T].
at::Tensor causal_bias(int64_t queries, int64_t keys, const at::TensorOptions& options);

/// Causal attention by LibTorch's fused kernels: queries [B, S, H, d], keys and values [B, K, T, d] → [B, S, H*d].
/// `takes_fewer_kv_heads`: the kernel takes K < H; else keys and values are repeated to H heads.
at::Tensor fused_attention(const at::Tensor& queries, const at::Tensor& keys, const at::Tensor& values, double dropout,
                           bool takes_fewer_kv_heads);

}  // namespace minimind
