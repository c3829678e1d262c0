#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

// Rotary positions, interleaved: the pairs (x0, x1), (x2, x3), … of a head are multiplied as complex numbers by the
// position's rotations, in float32.

/// cos + i sin of position * 10000^(-2j/d) for the positions [0, positions): complex64 [positions, d/2].
at::Tensor rope_rotations(int64_t head_dim, int64_t positions, const at::Device& device);

/// The heads of one position: x, y [heads, width]; y may be x. rotations: cos, sin, cos, sin, … [width]; `sign` -1
/// takes their conjugates. The numbers are float32, or bfloat16 in 16 bits.
void rope_row(const float* x, const float* rotations, float sign, float* y, int64_t heads, int64_t width);
void rope_row(const uint16_t* x, const float* rotations, float sign, uint16_t* y, int64_t heads, int64_t width);

/// With gradients: heads [B, S, H, d], rotations complex64 [S, d/2] → the shape and dtype of heads. The row form for
/// float32 and bfloat16 on a CPU, a kernel on a GPU, else the reference.
at::Tensor apply_rope(const at::Tensor& heads, const at::Tensor& rotations);

}  // namespace minimind
