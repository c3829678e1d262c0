#pragma once

#include <cstdint>

// No standard template in this header: the files that include it compile functions for several instruction sets.

namespace minimind {

/// A matmul of few input rows x [count, cols] with transposed weights [rows, cols]:
/// y[i * y_stride + r] = sum over c of x[i * cols + c] * weights[r * cols + c].
struct SmallGemm {
  const float* x = nullptr;
  float* y = nullptr;
  int64_t count = 0;
  int64_t y_stride = 0;
  int64_t rows = 0;
  int64_t cols = 0;
  const uint16_t* bf16_x = nullptr;  ///< x in bfloat16, for kernels with `takes_bf16_input`
};

/// The arithmetic of a decoding step for one instruction set. A GEMV reads each weight once, in the order of memory:
/// memory bandwidth limits a decoding step. Buffers need no alignment. bfloat16 values are their 16 bits.
struct GemvKernels {
  const char* name = nullptr;  ///< instruction set: "amx", "avx512", "avx2", "neon", "scalar"
  bool (*available)() = nullptr;
  bool takes_bf16_input = false;  ///< small_gemm_bf16() reads SmallGemm::bf16_x and multiplies bfloat16 with bfloat16

  // GEMV: y[r] = sum over c of weights[r * cols + c] * x[c].
  void (*gemv_float32)(const float* weights, const float* x, float* y, int64_t rows, int64_t cols) = nullptr;
  /// x: the result of permute_input().
  void (*gemv_bf16)(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) = nullptr;
  /// Permutes x to match how a vector load unpacks bfloat16 weights: of each group of 2n values the even ones, then the
  /// odd ones. A shorter tail keeps its order. n depends on the instruction set.
  void (*permute_input)(const float* x, float* out, int64_t cols) = nullptr;
  /// y[r] = scales[r] * x_scale * (the integer sum). x, x_scale: the results of quantize().
  void (*gemv_int8)(const int8_t* weights, const float* scales, const int16_t* x, float x_scale, float* y, int64_t rows,
                    int64_t cols) = nullptr;
  /// Quantizes x to levels of at most ±largest_level(cols). Returns the scale: x ≈ out * scale.
  float (*quantize)(const float* x, int16_t* out, int64_t cols) = nullptr;

  void (*small_gemm_float32)(const float* weights, const SmallGemm& gemm) = nullptr;
  void (*small_gemm_bf16)(const uint16_t* weights, const SmallGemm& gemm) = nullptr;
  /// Does not apply the scales of the weights.
  void (*small_gemm_int8)(const int8_t* weights, const SmallGemm& gemm) = nullptr;

  /// scores = exp(scores) / sum of exp(scores), in place; count >= 1.
  void (*softmax)(float* scores, int64_t count) = nullptr;
  /// out [width] = sum over p of weights[p] * values[p * width + …].
  void (*weighted_sum)(const float* values, const float* weights, float* out, int64_t count, int64_t width) = nullptr;
};

extern const GemvKernels kScalarKernels;
extern const GemvKernels kAvx2Kernels;
extern const GemvKernels kAvx512Kernels;  ///< requires AVX-512 BF16
extern const GemvKernels kAmxKernels;     ///< kAvx512Kernels, but small_gemm_bf16() multiplies tiles
extern const GemvKernels kNeonKernels;

/// Whether processor and operating system let a program multiply tiles of bfloat16 (Intel AMX).
bool amx_available();
/// GemvKernels::small_gemm_bf16 in tiles of 16 rows and 32 columns. Shapes that do not fill tiles go to kAvx512Kernels.
void amx_small_gemm_bf16(const uint16_t* weights, const SmallGemm& gemm);

/// The fastest kernels that this processor can run.
const GemvKernels& best_gemv_kernels();

/// Whether best_gemv_kernels() has vector instructions. If not, it is kScalarKernels and LibTorch's matmuls are faster.
bool has_vector_kernels();

/// The largest level of quantize(): a sum of `cols` products with int8 weights stays below 2^31.
int32_t largest_level(int64_t cols);

}  // namespace minimind
