#pragma once

#include <cstdint>

// No standard template in this header: the files that include it compile functions for several instruction sets.

namespace minimind {

/// A product of few rows x [count, cols] with weights [rows, cols], transposed: y[i * y_stride + r] = sum over c of
/// x[i * cols + c] * weights[r * cols + c].
struct FewRows {
  const float* x;
  float* y;
  int64_t count;
  int64_t y_stride;
  int64_t rows;
  int64_t cols;
  const uint16_t* narrow_x = nullptr;  ///< x in bfloat16, for kernels that round it
};

/// The arithmetic of decoding for one instruction set. Products read each weight once, in the order of memory, which is
/// what a decoding step waits for. Buffers need no alignment.
struct RowKernels {
  const char* name;  ///< instruction set: "amx", "avx512", "avx2", "plain"
  bool (*available)();
  bool rounds_x = false;  ///< bfloat16_rows() reads FewRows::narrow_x: the processor multiplies bfloat16 with bfloat16

  // Products with one row: y[r] = sum over c of weights[r * cols + c] * x[c].
  void (*float32)(const float* weights, const float* x, float* y, int64_t rows, int64_t cols);
  /// weights: bfloat16 bits. x: as split_pairs() gives it.
  void (*bfloat16)(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols);
  /// The order in which bfloat16 weights are widest read: of every group of numbers the even ones, then the odd ones; a
  /// shorter rest stays as it is. A group is as long as the instruction set likes.
  void (*split_pairs)(const float* x, float* out, int64_t cols);
  /// y[r] = scales[r] * x_scale * (the sum in whole numbers). x: as quantise() gives it.
  void (*int8)(const int8_t* weights, const float* scales, const int16_t* x, float x_scale, float* y, int64_t rows,
               int64_t cols);
  /// x as whole numbers times the scale that is returned, of so many bits that the sums of int8() fit 32.
  float (*quantise)(const float* x, int16_t* out, int64_t cols);

  // Products with few rows.
  void (*float32_rows)(const float* weights, const FewRows& product);
  void (*bfloat16_rows)(const uint16_t* weights, const FewRows& product);
  /// Without scales.
  void (*int8_rows)(const int8_t* weights, const FewRows& product);

  /// gate[i] = silu(gate[i]) * up[i].
  void (*gate)(float* gate, const float* up, int64_t count);
  /// exp(scores) / sum, in place; count >= 1.
  void (*softmax)(float* scores, int64_t count);
  /// out [width] = sum over p of scores[p] * values[p * width + …].
  void (*mix)(const float* values, const float* scores, float* out, int64_t count, int64_t width);
};

extern const RowKernels kPlainKernels;
extern const RowKernels kAvx2Kernels;
extern const RowKernels kAvx512Kernels;  ///< with products of bfloat16
extern const RowKernels kAmxKernels;     ///< the same, products of few rows in bfloat16 by tiles

/// The fastest that this processor has.
const RowKernels& best_row_kernels();

/// The highest magnitude of quantise(): sums of `cols` products with int8 weights stay below 2^31.
inline int32_t highest_quantum(int64_t cols) {
  const int64_t fits = 2147483647LL / (127 * (cols > 0 ? cols : 1));
  return fits > 32767 ? 32767 : static_cast<int32_t>(fits);
}

}  // namespace minimind
