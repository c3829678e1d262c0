#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

// SwiGLU: silu(gate) * up, where silu(x) = x * sigmoid(x), in float32.

/// Tensor operations, any shape. Rounds silu(gate) to its dtype before it multiplies.
at::Tensor swiglu_reference(const at::Tensor& gate, const at::Tensor& up);

/// out[i] = silu(gate[i]) * up[i] for float32, or for bfloat16 in 16 bits; out may be gate.
void swiglu_row(const float* gate, const float* up, float* out, int64_t count);
void swiglu_row(const uint16_t* gate, const uint16_t* up, uint16_t* out, int64_t count);

/// Without gradients: the row form for contiguous float32 and bfloat16 on a CPU, else the reference.
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);

/// With gradients: swiglu(gate, up) · weight^T. gate, up [..., F], weight [D, F] → [..., D]. The backward needs gate
/// and up; it recomputes their product.
at::Tensor swiglu_linear(const at::Tensor& gate, const at::Tensor& up, const at::Tensor& weight);

}  // namespace minimind
