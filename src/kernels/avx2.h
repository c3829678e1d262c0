#pragma once

// Pieces of the AVX2 kernels. No standard template here: every function is compiled for that instruction set.

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>

#include "kernels/gemv.h"

#define MINIMIND_AVX2 __attribute__((target("avx2,fma")))
#define MINIMIND_AVX2_INLINE __attribute__((target("avx2,fma"), always_inline)) inline

namespace minimind::detail {

MINIMIND_AVX2_INLINE float sum_of(__m256 a) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
}

MINIMIND_AVX2_INLINE int32_t sum_of(__m256i a) {
  const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
  const __m128i quarter = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0xB1)));
}

/// The sums of four vectors.
MINIMIND_AVX2_INLINE __m128 sums_of(__m256 a, __m256 b, __m256 c, __m256 d) {
  const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
  return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
}

MINIMIND_AVX2_INLINE float max_of(__m256 a) {
  const __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_max_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
}

MINIMIND_AVX2_INLINE __m256 load8(const float* at) {
  return _mm256_loadu_ps(at);
}

MINIMIND_AVX2_INLINE __m256 load8(const uint16_t* at) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

MINIMIND_AVX2_INLINE __m256 load8(const int8_t* at) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

inline float one(float value) {
  return value;
}
inline float one(int8_t value) {
  return static_cast<float>(value);
}
inline float one(uint16_t bits) {
  union {
    uint32_t bits;
    float value;
  } wide = {static_cast<uint32_t>(bits) << 16};
  return wide.value;
}

/// Asks for part `row` of `count` of the weights of the `columns` columns behind `column`'s, so that they
/// come from memory while other tiles are multiplied. A tile has four rows.
template <class Weight>
MINIMIND_AVX2_INLINE void fetch_ahead(const Weight* weights, const SmallGemm& product, int64_t columns, int64_t column,
                                      int64_t row, int64_t begin, int64_t end) {
  constexpr int64_t kLine = 64 / static_cast<int64_t>(sizeof(Weight));
  const int64_t lines = (end - begin + kLine - 1) / kLine;
  const int64_t first = lines * row / product.count;
  const int64_t last = row + 4 < product.count ? lines * (row + 4) / product.count : lines;
  for (int64_t next = column + columns; next < column + 2 * columns && next < product.rows; ++next) {
    for (int64_t line = first; line < last; ++line) {
      _mm_prefetch(reinterpret_cast<const char*>(weights + next * product.cols + begin + line * kLine), _MM_HINT_T0);
    }
  }
}

bool avx2_available();
void avx2_permute_input(const float* x, float* out, int64_t cols);
float avx2_quantize(const float* x, int16_t* out, int64_t cols);
void avx2_small_gemm_float32(const float* weights, const SmallGemm& product);
void avx2_small_gemm_bf16(const uint16_t* weights, const SmallGemm& product);
void avx2_small_gemm_int8(const int8_t* weights, const SmallGemm& product);
void avx2_swiglu(float* gate, const float* up, int64_t count);
void avx2_softmax(float* scores, int64_t count);
void avx2_weighted_sum(const float* values, const float* scores, float* out, int64_t count, int64_t width);

}  // namespace minimind::detail

#endif
