#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace minimind {

/// Rotations of consecutive positions: cos and sin of position * theta^(-2j/d), interleaved form. Float32.
struct RopeSlice {
  at::Tensor rotations;  ///< complex64 [S, d/2]: cos + i sin
};

/// The rotations of positions 0, 1, 2, …, computed once for each device and grown when a longer sequence comes.
class RopeTable {
 public:
  static constexpr double kTheta = 10000.0;

  explicit RopeTable(int64_t head_dim) : head_dim_(head_dim) {}
  /// Rotations of [start, start + count) on `device`.
  RopeSlice slice(int64_t start, int64_t count, const at::Device& device);

 private:
  int64_t head_dim_;
  at::Tensor table_;
};

/// Multiplies the pairs (x0, x1), (x2, x3), … of each head by the position's rotation, in float32.
/// heads [B, S, n, d] → the same shape and dtype.
at::Tensor apply_rope(const at::Tensor& heads, const RopeSlice& rope);

}  // namespace minimind
