#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/gemv.h"
#include "minimind/infer/decoder.h"

namespace minimind::detail {

/// Memory for the weights of a decoder, in the system's large pages where it has them: a step reads all of it, and
/// small pages would cost a tenth of the time.
class WeightArena {
 public:
  /// Room for so many bytes, each tensor's rounded up to 64.
  explicit WeightArena(int64_t bytes);
  at::Tensor take(at::IntArrayRef sizes, at::ScalarType dtype);

 private:
  at::Tensor bytes_;
  int64_t used_ = 0;
};

/// One row in the form that the kernels of a number format read.
struct RowInput {
  const float* x = nullptr;
  std::vector<float> values;
  std::vector<int16_t> quanta;
  float scale = 0;
};

/// A weight matrix [rows, cols] as decoding wants it: multiplied with one row or with few by our own kernels.
/// Immutable.
class RowMatrix {
 public:
  /// Bytes of the arena that so many weights may take.
  static int64_t bytes(int64_t weights, int64_t rows, WeightFormat format);

  RowMatrix() = default;
  /// Parts: float32 [*, cols] on the CPU, laid below each other; copied.
  RowMatrix(const std::vector<at::Tensor>& parts, WeightFormat format, const GemvKernels& kernels, WeightArena& arena);

  /// x [cols] in the form of the format; `input` keeps pointing to x.
  void prepare(const float* x, RowInput& input) const;
  /// y [begin, end) of the product with a prepared row.
  void multiply(const RowInput& input, float* y, int64_t begin, int64_t end) const;
  /// float32 [S, cols] → float32 [S, rows], in as many threads as the framework uses.
  at::Tensor multiply(const at::Tensor& x) const;
  /// Row `index` as float32 [cols].
  void copy_row(int64_t index, float* out) const;

  int64_t rows() const { return weights_.size(0); }
  int64_t cols() const { return weights_.size(1); }

 private:
  at::Tensor weights_;  ///< float32, bfloat16 or int8, contiguous
  at::Tensor scales_;   ///< int8: float32 [rows]
  const GemvKernels* kernels_ = nullptr;
};

}  // namespace minimind::detail
