#include "chat/detail/row_kernels.h"

#if defined(__x86_64__)
#include <immintrin.h>

#define MINIMIND_AVX2 __attribute__((target("avx2,fma")))

namespace minimind::detail {

namespace {

bool avx2_available() {
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0;
}

MINIMIND_AVX2 float sum_of(__m256 a) {
  const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
  const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
  return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
}

MINIMIND_AVX2 __m256 load8(const float* at) {
  return _mm256_loadu_ps(at);
}

MINIMIND_AVX2 __m256 load8(const uint16_t* at) {
  const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
}

MINIMIND_AVX2 __m256 load8(const int8_t* at) {
  const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(at));
  return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
}

float one(float value) {
  return value;
}
float one(int8_t value) {
  return static_cast<float>(value);
}
float one(uint16_t bits) {
  union {
    uint32_t bits;
    float value;
  } wide = {static_cast<uint32_t>(bits) << 16};
  return wide.value;
}

/// Four sums in flight hide the latency of the additions.
template <class Weight>
MINIMIND_AVX2 float dot(const Weight* weights, const float* x, int64_t cols) {
  __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
  int64_t i = 0;
  for (; i + 32 <= cols; i += 32) {
    a = _mm256_fmadd_ps(load8(weights + i), _mm256_loadu_ps(x + i), a);
    b = _mm256_fmadd_ps(load8(weights + i + 8), _mm256_loadu_ps(x + i + 8), b);
    c = _mm256_fmadd_ps(load8(weights + i + 16), _mm256_loadu_ps(x + i + 16), c);
    d = _mm256_fmadd_ps(load8(weights + i + 24), _mm256_loadu_ps(x + i + 24), d);
  }
  float sum = sum_of(_mm256_add_ps(_mm256_add_ps(a, b), _mm256_add_ps(c, d)));
  for (; i < cols; ++i) {
    sum += one(weights[i]) * x[i];
  }
  return sum;
}

MINIMIND_AVX2 void avx2_float32(const float* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row) {
    y[row] = dot(weights + row * cols, x, cols);
  }
}

MINIMIND_AVX2 void avx2_bfloat16(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row) {
    y[row] = dot(weights + row * cols, x, cols);
  }
}

MINIMIND_AVX2 void avx2_int8(const int8_t* weights, const float* scales, const float* x, float* y, int64_t rows,
                             int64_t cols) {
  for (int64_t row = 0; row < rows; ++row) {
    y[row] = dot(weights + row * cols, x, cols) * scales[row];
  }
}

}  // namespace

const RowKernels kAvx2Kernels = {"avx2", avx2_available, avx2_float32, avx2_bfloat16, avx2_int8};

}  // namespace minimind::detail

#undef MINIMIND_AVX2
#else

namespace minimind::detail {

namespace {

bool avx2_available() {
  return false;
}

}  // namespace

const RowKernels kAvx2Kernels = {"avx2", avx2_available, nullptr, nullptr, nullptr};

}  // namespace minimind::detail

#endif
