#pragma once

#include <ATen/core/Tensor.h>

namespace minimind::detail {

// Passes over the rows of a training step on a CPU, each one sweep where the framework's operations need five to ten.
// Tensors are contiguous and of the shapes and dtypes that are named: the caller sees to it, nothing is checked. The
// results do not depend on the number of threads.

/// y = x / sqrt(mean(x²) + eps) * weight for float32 x [..., D]; inverse [...] gets the factor of each row.
void normalise_rows(const at::Tensor& x, const at::Tensor& weight, double eps, const at::Tensor& y,
                    const at::Tensor& inverse);

/// The way back of normalise_rows(): fills x_gradient [..., D] and, if it is defined, weight_gradient [D].
void normalise_rows_backward(const at::Tensor& gradient, const at::Tensor& x, const at::Tensor& weight,
                             const at::Tensor& inverse, const at::Tensor& x_gradient,
                             const at::Tensor& weight_gradient);

/// x = x * sigmoid(1.702 x) in place ("quick GELU"); x: float32 or bfloat16 [..., D], computed in float32. A row's
/// numbers do not depend on where it stands.
void quick_gelu_rows(const at::Tensor& x);

/// Turns consecutive pairs: y[b, s, n, 2i : 2i+2] = x[…] times rotations[s, i] as complex numbers, or times their
/// conjugates. x, y: float32 or bfloat16 [B, S, n, d]; rotations: complex64 [S, d/2].
void turn_pairs(const at::Tensor& x, const at::Tensor& rotations, bool conjugate, const at::Tensor& y);

}  // namespace minimind::detail
