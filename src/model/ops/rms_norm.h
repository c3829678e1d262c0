#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

// RMSNorm: y = x / sqrt(mean(x²) + eps) * weight over the last dimension, in float32.

/// Tensor operations. x [..., D], weight [D] → [..., D]. Rounds to the dtype of x before it multiplies by the weight.
at::Tensor rms_norm_reference(const at::Tensor& x, const at::Tensor& weight, double eps);

/// One row: x, weight, y [width]; y may be x. Returns the factor 1 / sqrt(mean(x²) + eps).
float rms_norm_row(const float* x, const float* weight, double eps, float* y, int64_t width);

/// With gradients: the row form for contiguous float32 on a CPU, else the reference. The backward needs the input and
/// one factor per row.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace minimind
