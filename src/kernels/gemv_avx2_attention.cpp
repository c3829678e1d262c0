#include "kernels/avx2.h"

#if defined(__x86_64__)

namespace minimind::detail {

namespace {

/// exp by 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]; within 2e-7 of the value.
MINIMIND_AVX2_INLINE __m256 exp8(__m256 x) {
  x = _mm256_max_ps(_mm256_min_ps(x, _mm256_set1_ps(88.0F)), _mm256_set1_ps(-87.0F));
  const __m256 n =
      _mm256_round_ps(_mm256_mul_ps(x, _mm256_set1_ps(1.44269504F)), _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  // ln 2 in two parts, the first one exact in few bits.
  __m256 r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375F), x);
  r = _mm256_fnmadd_ps(n, _mm256_set1_ps(-2.12194440e-4F), r);
  constexpr float kFactors[] = {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F};
  __m256 p = _mm256_set1_ps(1.0F / 5040);
  for (const float factor : kFactors) {
    p = _mm256_fmadd_ps(p, r, _mm256_set1_ps(factor));
  }
  const __m256i exponent = _mm256_slli_epi32(_mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127)), 23);
  return _mm256_mul_ps(p, _mm256_castsi256_ps(exponent));
}

MINIMIND_AVX2_INLINE __m256 gate8(__m256 gate, __m256 up) {
  const __m256 negative = _mm256_sub_ps(_mm256_setzero_ps(), gate);
  return _mm256_mul_ps(_mm256_div_ps(gate, _mm256_add_ps(_mm256_set1_ps(1.0F), exp8(negative))), up);
}

/// A rest of fewer than eight numbers, filled up.
MINIMIND_AVX2_INLINE __m256 load_rest(const float* at, int64_t count, float filling) {
  float rest[8];
  for (int64_t i = 0; i < 8; ++i) {
    rest[i] = i < count ? at[i] : filling;
  }
  return load8(rest);
}

MINIMIND_AVX2_INLINE void store_rest(float* at, __m256 values, int64_t count) {
  float rest[8];
  _mm256_storeu_ps(rest, values);
  for (int64_t i = 0; i < count; ++i) {
    at[i] = rest[i];
  }
}

}  // namespace

MINIMIND_AVX2 void avx2_swiglu(float* gate, const float* up, int64_t count) {
  int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    _mm256_storeu_ps(gate + i, gate8(load8(gate + i), load8(up + i)));
  }
  if (i < count) {
    store_rest(gate + i, gate8(load_rest(gate + i, count - i, 0), load_rest(up + i, count - i, 0)), count - i);
  }
}

MINIMIND_AVX2 void avx2_softmax(float* scores, int64_t count) {
  constexpr float kLowest = -3.0e38F;
  const int64_t whole = count / 8 * 8, rest = count - whole;
  __m256 most = load_rest(scores + whole, rest, kLowest);
  for (int64_t i = 0; i < whole; i += 8) {
    most = _mm256_max_ps(most, load8(scores + i));
  }
  const __m256 highest = _mm256_set1_ps(max_of(most));
  __m256 sum = _mm256_setzero_ps();
  for (int64_t i = 0; i < whole; i += 8) {
    const __m256 value = exp8(_mm256_sub_ps(load8(scores + i), highest));
    sum = _mm256_add_ps(sum, value);
    _mm256_storeu_ps(scores + i, value);
  }
  float total = sum_of(sum);
  store_rest(scores + whole, exp8(_mm256_sub_ps(load_rest(scores + whole, rest, kLowest), highest)), rest);
  for (int64_t i = whole; i < count; ++i) {
    total += scores[i];
  }
  const __m256 scale = _mm256_set1_ps(1.0F / total);
  for (int64_t i = 0; i < whole; i += 8) {
    _mm256_storeu_ps(scores + i, _mm256_mul_ps(load8(scores + i), scale));
  }
  for (int64_t i = whole; i < count; ++i) {
    scores[i] *= 1.0F / total;
  }
}

MINIMIND_AVX2 void avx2_weighted_sum(const float* values, const float* scores, float* out, int64_t count,
                                     int64_t width) {
  int64_t i = 0;
  for (; i + 32 <= width; i += 32) {
    __m256 a = _mm256_setzero_ps(), b = a, c = a, d = a;
    const float* at = values + i;
    for (int64_t position = 0; position < count; ++position, at += width) {
      const __m256 weight = _mm256_set1_ps(scores[position]);
      a = _mm256_fmadd_ps(weight, load8(at), a);
      b = _mm256_fmadd_ps(weight, load8(at + 8), b);
      c = _mm256_fmadd_ps(weight, load8(at + 16), c);
      d = _mm256_fmadd_ps(weight, load8(at + 24), d);
    }
    _mm256_storeu_ps(out + i, a);
    _mm256_storeu_ps(out + i + 8, b);
    _mm256_storeu_ps(out + i + 16, c);
    _mm256_storeu_ps(out + i + 24, d);
  }
  for (; i < width; ++i) {
    float sum = 0;
    for (int64_t position = 0; position < count; ++position) {
      sum += scores[position] * values[position * width + i];
    }
    out[i] = sum;
  }
}

}  // namespace minimind::detail

#endif
