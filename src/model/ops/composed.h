#pragma once

#include <ATen/core/Tensor.h>

#include <tuple>

namespace minimind {

// The reference forms of the ops, in tensor operations: what the row forms and the GPU kernels are compared with, and
// what takes their place where they do not serve. The functions on a gradient are not differentiable themselves.

/// x [..., D], weight [D] → [..., D]. Rounds to the dtype of x before it multiplies by the weight.
at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps);
/// Likewise, and the float32 factor 1 / sqrt(mean(x²) + eps) of each row: [..., 1].
std::tuple<at::Tensor, at::Tensor> rms_norm_with_factors(const at::Tensor& x, const at::Tensor& weight, double eps);
/// The gradients of x [..., D] and, if `needs_weight`, of the weight [D]; else the second is undefined.
std::tuple<at::Tensor, at::Tensor> rms_norm_backward_reference(const at::Tensor& gradient, const at::Tensor& x,
                                                               const at::Tensor& weight, const at::Tensor& factors,
                                                               bool needs_weight);

/// Any shape. Rounds silu(gate) to its dtype before it multiplies.
at::Tensor swiglu_reference(const at::Tensor& gate, const at::Tensor& up);
/// gradient: of the product. The gradients of gate and up.
std::tuple<at::Tensor, at::Tensor> swiglu_backward_reference(const at::Tensor& gradient, const at::Tensor& gate,
                                                             const at::Tensor& up);

inline constexpr double kQuickGeluScale = 1.702;
/// Any shape.
at::Tensor quick_gelu_reference(const at::Tensor& x);

/// heads [B, S, H, d], rotations complex64 [S, d/2] → the shape and dtype of heads. sign -1 takes the conjugates of the
/// rotations.
at::Tensor rope_reference(const at::Tensor& heads, const at::Tensor& rotations, double sign = 1);

}  // namespace minimind
