#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

// SwiGLU: silu(gate) * up, where silu(x) = x * sigmoid(x), in float32.

/// out[i] = silu(gate[i]) * up[i] for float32, or for bfloat16 in 16 bits; out may be gate.
void swiglu_row(const float* gate, const float* up, float* out, int64_t count);
void swiglu_row(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t count);

/// Without gradients: the row form for contiguous float32 and bfloat16 on a CPU, a kernel on a GPU, else the reference.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

/// With gradients: swiglu(gate, up) · weight^T. gate, up [..., F], weight [D, F] → [..., D]. The backward needs gate
/// and up; it recomputes their product.
at::Tensor swiglu_linear(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& weight);

// Quick GELU: x * sigmoid(1.702 x), in float32. No gradients: the encoder that uses it is frozen.

/// In place: x [count] of float32, or of bfloat16 in 16 bits.
void quick_gelu_row(float* x, int64_t count);
void quick_gelu_row(uint16_t* x, int64_t count);

/// In place: the row form for contiguous float32 and bfloat16 on a CPU, a kernel on a GPU, else the reference. A row's
/// result does not depend on the other rows.
void quick_gelu_(const at::Tensor& x);

}  // namespace minimind
