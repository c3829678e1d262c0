#include "kernels/avx2.h"
#include "kernels/gemv.h"

#if defined(__x86_64__)

namespace minimind {

namespace detail {

bool avx2_available() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

MINIMIND_AVX2 void avx2_permute_input(const float* x, float* out, int64_t cols) {
  int64_t i = 0;
  for (; i + 16 <= cols; i += 16) {
    const __m256 a = load8(x + i), b = load8(x + i + 8);
    // Within 128-bit lanes, then the lanes' quarters into order.
    const __m256 even = _mm256_shuffle_ps(a, b, 0x88), odd = _mm256_shuffle_ps(a, b, 0xDD);
    _mm256_storeu_ps(out + i, _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(even), 0xD8)));
    _mm256_storeu_ps(out + i + 8, _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(odd), 0xD8)));
  }
  for (; i < cols; ++i) {
    out[i] = x[i];
  }
}

MINIMIND_AVX2 float avx2_quantize(const float* x, int16_t* out, int64_t cols) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 most = _mm256_setzero_ps();
  int64_t i = 0;
  for (; i + 8 <= cols; i += 8) {
    most = _mm256_max_ps(most, _mm256_andnot_ps(sign, load8(x + i)));
  }
  float highest = max_of(most);
  for (; i < cols; ++i) {
    const float size = x[i] < 0 ? -x[i] : x[i];
    highest = size > highest ? size : highest;
  }
  const auto quantum = static_cast<float>(largest_level(cols));
  const float inverse = highest > 0 ? quantum / highest : 0;
  const __m256 factor = _mm256_set1_ps(inverse);
  for (i = 0; i + 16 <= cols; i += 16) {
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(load8(x + i), factor));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(load8(x + i + 8), factor));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + i), _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xD8));
  }
  for (; i < cols; ++i) {
    out[i] = static_cast<int16_t>(_mm_cvtss_si32(_mm_set_ss(x[i] * inverse)));
  }
  return highest / quantum;
}

}  // namespace detail

namespace {

using detail::load8;
using detail::one;
using detail::sum_of;

/// Four sums in flight hide the latency of the additions.
MINIMIND_AVX2 void avx2_gemv_float32(const float* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 32 <= cols; i += 32) {
      a = _mm256_fmadd_ps(load8(weights + i), load8(x + i), a);
      b = _mm256_fmadd_ps(load8(weights + i + 8), load8(x + i + 8), b);
      c = _mm256_fmadd_ps(load8(weights + i + 16), load8(x + i + 16), c);
      d = _mm256_fmadd_ps(load8(weights + i + 24), load8(x + i + 24), d);
    }
    float sum = sum_of(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
    for (; i < cols; ++i) {
      sum += weights[i] * x[i];
    }
    y[row] = sum;
  }
}

/// A bfloat16 is the upper half of a float: of each pair of weights one is shifted up, the other one masked.
MINIMIND_AVX2 void avx2_gemv_bf16(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 32 <= cols; i += 32) {
      const __m256i p = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + i));
      const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + i + 16));
      a = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(p, 16)), load8(x + i), a);
      b = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(p, upper)), load8(x + i + 8), b);
      c = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(q, 16)), load8(x + i + 16), c);
      d = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(q, upper)), load8(x + i + 24), d);
    }
    if (i + 16 <= cols) {
      const __m256i p = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights + i));
      a = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_slli_epi32(p, 16)), load8(x + i), a);
      b = _mm256_fmadd_ps(_mm256_castsi256_ps(_mm256_and_si256(p, upper)), load8(x + i + 8), b);
      i += 16;
    }
    float sum = sum_of(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
    for (; i < cols; ++i) {
      sum += one(weights[i]) * x[i];
    }
    y[row] = sum;
  }
}

MINIMIND_AVX2_INLINE __m256i madd16(const int8_t* weights, const int16_t* x) {
  const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(weights));
  return _mm256_madd_epi16(_mm256_cvtepi8_epi16(bytes), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
}

MINIMIND_AVX2 void avx2_gemv_int8(const int8_t* weights, const float* scales, const int16_t* x, float x_scale, float* y,
                                  int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    __m256i a = _mm256_setzero_si256(), b = a;
    int64_t i = 0;
    for (; i + 32 <= cols; i += 32) {
      a = _mm256_add_epi32(a, madd16(weights + i, x + i));
      b = _mm256_add_epi32(b, madd16(weights + i + 16, x + i + 16));
    }
    int32_t sum = sum_of(_mm256_add_epi32(a, b));
    for (; i < cols; ++i) {
      sum += static_cast<int32_t>(weights[i]) * x[i];
    }
    y[row] = static_cast<float>(sum) * (scales[row] * x_scale);
  }
}

}  // namespace

const GemvKernels kAvx2Kernels = {.name = "avx2",
                                  .available = detail::avx2_available,
                                  .gemv_float32 = avx2_gemv_float32,
                                  .gemv_bf16 = avx2_gemv_bf16,
                                  .permute_input = detail::avx2_permute_input,
                                  .gemv_int8 = avx2_gemv_int8,
                                  .quantize = detail::avx2_quantize,
                                  .small_gemm_float32 = detail::avx2_small_gemm_float32,
                                  .small_gemm_bf16 = detail::avx2_small_gemm_bf16,
                                  .small_gemm_int8 = detail::avx2_small_gemm_int8,
                                  .swiglu = detail::avx2_swiglu,
                                  .softmax = detail::avx2_softmax,
                                  .weighted_sum = detail::avx2_weighted_sum};

}  // namespace minimind

#endif
