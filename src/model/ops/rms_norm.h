#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

// RMSNorm: y = x / sqrt(mean(x²) + eps) * weight over the last dimension, in float32.

/// One row: x, weight, y [width]; y may be x. Returns the factor 1 / sqrt(mean(x²) + eps).
float rms_norm_row(const float* x, const float* weight, double eps, float* y, int64_t width);

/// With gradients: x [..., D], weight [D] → [..., D]. The row form for contiguous float32 on a CPU, LibTorch's fused
/// kernels on a GPU, else the reference. The backward needs the input and one factor per row.
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& weight, double eps);

}  // namespace minimind
