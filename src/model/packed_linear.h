#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "kernels/gemv.h"
#include "minimind/model/config.h"

namespace minimind {

/// Memory for packed weights, in large pages if the system has them: a decoding step reads all weights, and small pages
/// would cost a tenth of its time.
class WeightArena {
 public:
  /// Room for `bytes`, where each tensor takes a multiple of 64. Throws Error if the system has less.
  explicit WeightArena(int64_t bytes);
  at::Tensor take(at::IntArrayRef sizes, at::ScalarType dtype);

 private:
  at::Tensor bytes_;
  int64_t used_ = 0;
};

/// One input row as the GEMV kernels of a format read it.
struct PackedInput {
  const float* x = nullptr;
  std::vector<float> permuted;
  std::vector<int16_t> quantized;
  float scale = 0;
};

/// Weights [rows, cols] for inference: float32, bfloat16, or int8 with a scale per row. Either a matrix of its own or a
/// range of rows of another, so that linear layers with the same input share one matrix. Immutable.
class PackedLinear {
 public:
  /// Bytes of an arena that the weights of `parts` take.
  static int64_t bytes(const std::vector<at::Tensor>& parts, WeightFormat format);

  PackedLinear() = default;
  /// Copies the parts, float32 [*, cols] on the CPU, below each other.
  PackedLinear(const std::vector<at::Tensor>& parts, WeightFormat format, const GemvKernels& kernels,
               WeightArena& arena);

  /// The rows [first, first + count), in the same memory.
  PackedLinear range(int64_t first, int64_t count) const;

  /// GEMM: x float32 [..., cols] → float32 [..., rows], by small_gemm() or LibTorch.
  at::Tensor multiply(const at::Tensor& x) const;

  /// Brings x [cols] into the form of the format; `input` keeps pointing to x.
  void prepare(const float* x, PackedInput& input) const;
  /// GEMV: y[r] for the rows [begin, end), of a prepared input.
  void multiply(const PackedInput& input, float* y, int64_t begin, int64_t end) const;

  /// Row `index` as float32 [cols].
  void copy_row(int64_t index, float* out) const;

  int64_t rows() const { return weights_.size(0); }
  int64_t cols() const { return weights_.size(1); }

 private:
  at::Tensor weights_;  ///< float32, bfloat16 or int8; contiguous
  at::Tensor scales_;   ///< int8: float32 [rows]; else undefined
  const GemvKernels* kernels_ = nullptr;
};

}  // namespace minimind
