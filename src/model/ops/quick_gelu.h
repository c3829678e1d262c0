#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

// Quick GELU: x * sigmoid(1.702 x), in float32. No gradients: the encoder that uses it is frozen.

/// Tensor operations, any shape.
at::Tensor quick_gelu_reference(const at::Tensor& x);

/// In place: x [count] of float32, or of bfloat16 in 16 bits.
void quick_gelu_row(float* x, int64_t count);
void quick_gelu_row(uint16_t* x, int64_t count);

/// In place: the row form for contiguous float32 and bfloat16 on a CPU, else the reference. A row's result does not
/// depend on the other rows.
void quick_gelu_(const at::Tensor& x);

}  // namespace minimind
