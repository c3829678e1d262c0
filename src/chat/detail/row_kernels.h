#pragma once

#include <cstdint>

// No standard template in this header: the files that include it compile functions for several instruction sets.

namespace minimind::detail {

/// Products of a matrix with one vector: y[r] = sum over c of weights[r * cols + c] * x[c]. They read each weight once,
/// in the order of memory, which is what a decoding step waits for. Buffers need no alignment.
struct RowKernels {
  const char* name;  ///< instruction set: "avx2", "plain"
  bool (*available)();
  void (*float32)(const float* weights, const float* x, float* y, int64_t rows, int64_t cols);
  /// weights: bfloat16 bits.
  void (*bfloat16)(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols);
  /// y[r] = scales[r] * sum over c of weights[r * cols + c] * x[c].
  void (*int8)(const int8_t* weights, const float* scales, const float* x, float* y, int64_t rows, int64_t cols);
};

extern const RowKernels kPlainKernels;
extern const RowKernels kAvx2Kernels;

/// The fastest that this processor has.
const RowKernels& best_row_kernels();

}  // namespace minimind::detail
