#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "chat/detail/row_kernels.h"
#include "minimind/chat/decoder.h"

namespace minimind::detail {

/// A weight matrix [rows, cols] as decoding wants it: multiplied with one row by our own kernels, with many rows by the
/// framework. Immutable.
class RowMatrix {
 public:
  RowMatrix() = default;
  /// weights: float32 [rows, cols] on the CPU; kept, not copied, in float32 where it is contiguous.
  RowMatrix(const at::Tensor& weights, WeightFormat format, const RowKernels& kernels);

  /// x [cols] → y [rows], in as many threads as the framework uses.
  void multiply(const float* x, float* y) const;
  /// float32 [S, cols] → float32 [S, rows].
  at::Tensor multiply(const at::Tensor& x) const;
  /// Row `index` as float32 [cols].
  void copy_row(int64_t index, float* out) const;

  int64_t rows() const { return weights_.size(0); }
  int64_t cols() const { return weights_.size(1); }

 private:
  at::Tensor weights_;  ///< float32, bfloat16 or int8, contiguous
  at::Tensor scales_;   ///< int8: float32 [rows]
  const RowKernels* kernels_ = nullptr;
};

}  // namespace minimind::detail
