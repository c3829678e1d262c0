#include "kernels/avx512.h"
#include "kernels/gemv.h"

#if defined(__x86_64__)

namespace minimind {

namespace {

using detail::first_lanes;

bool avx512_available() {
  return detail::avx2_available() && __builtin_cpu_supports("avx512f") != 0 &&
         __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
         __builtin_cpu_supports("avx512vl") != 0 && __builtin_cpu_supports("avx512bf16") != 0;
}

MINIMIND_AVX512_INLINE __m512 load16(const float* at) {
  return _mm512_loadu_ps(at);
}

/// The processor's own reading ahead stops at the end of a small page and starts anew behind it; being asked for the
/// lines 2 KB ahead keeps it busy. kLines of 64 bytes, from `at` on.
template <int kLines>
MINIMIND_AVX512_INLINE void fetch_coming(const void* at) {
  constexpr int kBytesAhead = 2048;
  for (int line = 0; line < kLines; ++line) {
    _mm_prefetch(static_cast<const char*>(at) + kBytesAhead + 64 * line, _MM_HINT_T0);
  }
}

/// Four sums in flight hide the latency of the additions.
MINIMIND_AVX512 void avx512_gemv_float32(const float* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 64 <= cols; i += 64) {
      fetch_coming<4>(weights + i);
      a = _mm512_fmadd_ps(load16(weights + i), load16(x + i), a);
      b = _mm512_fmadd_ps(load16(weights + i + 16), load16(x + i + 16), b);
      c = _mm512_fmadd_ps(load16(weights + i + 32), load16(x + i + 32), c);
      d = _mm512_fmadd_ps(load16(weights + i + 48), load16(x + i + 48), d);
    }
    for (; i < cols; i += 16) {
      const auto mask = static_cast<__mmask16>(first_lanes(cols - i < 16 ? cols - i : 16));
      a = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(mask, weights + i), _mm512_maskz_loadu_ps(mask, x + i), a);
    }
    y[row] = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
  }
}

/// A bfloat16 is the upper half of a float: of each pair of weights one is shifted up, the other one masked.
MINIMIND_AVX512 void avx512_gemv_bf16(const uint16_t* weights, const float* x, float* y, int64_t rows, int64_t cols) {
  const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    __m512 a = _mm512_setzero_ps(), b = a, c = a, d = a;
    int64_t i = 0;
    for (; i + 64 <= cols; i += 64) {
      fetch_coming<2>(weights + i);
      const __m512i p = _mm512_loadu_si512(weights + i), q = _mm512_loadu_si512(weights + i + 32);
      a = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(p, 16)), load16(x + i), a);
      b = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(p, upper)), load16(x + i + 16), b);
      c = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(q, 16)), load16(x + i + 32), c);
      d = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(q, upper)), load16(x + i + 48), d);
    }
    if (i + 32 <= cols) {
      const __m512i p = _mm512_loadu_si512(weights + i);
      a = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_slli_epi32(p, 16)), load16(x + i), a);
      b = _mm512_fmadd_ps(_mm512_castsi512_ps(_mm512_and_si512(p, upper)), load16(x + i + 16), b);
      i += 32;
    }
    float sum = _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(a, b), _mm512_add_ps(c, d)));
    for (; i < cols; ++i) {
      sum += detail::one(weights[i]) * x[i];
    }
    y[row] = sum;
  }
}

MINIMIND_AVX512 void avx512_permute_input(const float* x, float* out, int64_t cols) {
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  int64_t i = 0;
  for (; i + 32 <= cols; i += 32) {
    const __m512 a = load16(x + i), b = load16(x + i + 16);
    _mm512_storeu_ps(out + i, _mm512_permutex2var_ps(a, even, b));
    _mm512_storeu_ps(out + i + 16, _mm512_permutex2var_ps(a, odd, b));
  }
  for (; i < cols; ++i) {
    out[i] = x[i];
  }
}

MINIMIND_AVX512_INLINE __m512i madd32(const int8_t* weights, const int16_t* x) {
  const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights));
  return _mm512_madd_epi16(_mm512_cvtepi8_epi16(bytes), _mm512_loadu_si512(x));
}

MINIMIND_AVX512 void avx512_gemv_int8(const int8_t* weights, const float* scales, const int16_t* x, float x_scale,
                                      float* y, int64_t rows, int64_t cols) {
  for (int64_t row = 0; row < rows; ++row, weights += cols) {
    __m512i a = _mm512_setzero_si512(), b = a;
    int64_t i = 0;
    for (; i + 64 <= cols; i += 64) {
      fetch_coming<1>(weights + i);
      a = _mm512_add_epi32(a, madd32(weights + i, x + i));
      b = _mm512_add_epi32(b, madd32(weights + i + 32, x + i + 32));
    }
    int32_t sum = _mm512_reduce_add_epi32(_mm512_add_epi32(a, b));
    for (; i < cols; ++i) {
      sum += static_cast<int32_t>(weights[i]) * x[i];
    }
    y[row] = static_cast<float>(sum) * (scales[row] * x_scale);
  }
}

bool avx512_amx_available() {
  return avx512_available() && detail::amx_available();
}

constexpr GemvKernels avx512_kernels() {
  return {.name = "avx512",
          .available = avx512_available,
          .takes_bf16_input = true,
          .gemv_float32 = avx512_gemv_float32,
          .gemv_bf16 = avx512_gemv_bf16,
          .permute_input = avx512_permute_input,
          .gemv_int8 = avx512_gemv_int8,
          .quantize = detail::avx2_quantize,
          .small_gemm_float32 = detail::avx512_small_gemm_float32,
          .small_gemm_bf16 = detail::avx512_small_gemm_bf16,
          .small_gemm_int8 = detail::avx512_small_gemm_int8,
          .swiglu = detail::avx2_swiglu,
          .softmax = detail::avx2_softmax,
          .weighted_sum = detail::avx2_weighted_sum};
}

constexpr GemvKernels amx_kernels() {
  GemvKernels kernels = avx512_kernels();
  kernels.name = "amx";
  kernels.available = avx512_amx_available;
  kernels.small_gemm_bf16 = detail::amx_small_gemm_bf16;
  return kernels;
}

}  // namespace

const GemvKernels kAvx512Kernels = avx512_kernels();
const GemvKernels kAmxKernels = amx_kernels();

}  // namespace minimind

#endif
