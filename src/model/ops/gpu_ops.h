#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace minimind::gpu {

// The ops on a GPU: each is one operation of LibTorch's dispatcher and, where its kernel serves, one kernel. Where it
// does not serve, and on a CPU, the form of composed.h. No gradients: the caller's autograd node has them.

/// y [..., D] and float32 factors [..., 1] of x [..., D] and weight [D].
std::tuple<at::Tensor, at::Tensor> rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);
/// The gradients of x and, if `needs_weight`, of the weight.
std::tuple<at::Tensor, at::Tensor> rms_norm_backward(const at::Tensor& gradient, const at::Tensor& x,
                                                     const at::Tensor& weight, const at::Tensor& factors,
                                                     bool needs_weight);

/// silu(gate) * up in float32, rounded once.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);
/// gradient: of the product. The gradients of gate and up, and the product again.
std::tuple<at::Tensor, at::Tensor, at::Tensor> swiglu_backward(const at::Tensor& gradient, const at::Tensor& gate,
                                                               const at::Tensor& up);

/// x * sigmoid(1.702 x), in place.
void quick_gelu_(const at::Tensor& x);

/// heads [B, S, H, d], rotations complex64 [S, d/2] → [B, S, H, d], contiguous. sign -1 rotates back.
at::Tensor rope(const at::Tensor& heads, const at::Tensor& rotations, double sign);

}  // namespace minimind::gpu
