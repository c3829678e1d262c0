#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>

// AVX2 with FMA: vectors of eight values. gemv.inl says what each function does. No standard template here: every
// function is compiled for this instruction set.

#define MINIMIND_ISA avx2
#define MINIMIND_TARGET __attribute__((target("avx2,fma")))
#define MINIMIND_INLINE __attribute__((target("avx2,fma"), always_inline)) static

namespace minimind::MINIMIND_ISA {
namespace {

struct Lanes {
  using Vector = __m256;
  using Pair = float __attribute__((vector_size(8)));
  using Integers = __m256i;
  static constexpr int64_t kWidth = 8, kIntegerWidth = 16, kBlockBytes = 4096, kPrefetchBytes = 0;
  static constexpr unsigned kTileRows = 3;  // 3 x 4 sums, 3 weights and 1 input fill the 16 registers
  static constexpr bool kTakesBf16Input = false;

  MINIMIND_INLINE Vector broadcast(float value) { return _mm256_set1_ps(value); }
  MINIMIND_INLINE Vector load(const float* at) { return _mm256_loadu_ps(at); }
  MINIMIND_INLINE Vector load(const uint16_t* at) {
    const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(at));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
  }
  MINIMIND_INLINE Vector load(const int8_t* at) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(at))));
  }
  MINIMIND_INLINE __m256i first_lanes(int64_t count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  }
  MINIMIND_INLINE Vector load(const float* at, int64_t count, float filling) {
    const __m256i mask = first_lanes(count);
    return _mm256_blendv_ps(broadcast(filling), _mm256_maskload_ps(at, mask), _mm256_castsi256_ps(mask));
  }
  MINIMIND_INLINE Vector load_even(const uint16_t* at) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), 16));
  }
  MINIMIND_INLINE Vector load_odd(const uint16_t* at) {
    const __m256i upper_half = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
    return _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(at)), upper_half));
  }
  MINIMIND_INLINE void store(float* at, Vector a, int64_t count) { _mm256_maskstore_ps(at, first_lanes(count), a); }

  MINIMIND_INLINE Vector multiply_add(Vector sum, Vector a, Vector b) { return _mm256_fmadd_ps(a, b, sum); }
  MINIMIND_INLINE Vector larger(Vector a, Vector b) { return _mm256_max_ps(a, b); }
  MINIMIND_INLINE Vector smaller(Vector a, Vector b) { return _mm256_min_ps(a, b); }
  MINIMIND_INLINE Vector round(Vector a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
  MINIMIND_INLINE Vector scale_by_power(Vector a, Vector n) {
    const __m256i exponents = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
    return _mm256_mul_ps(a, _mm256_castsi256_ps(_mm256_slli_epi32(exponents, 23)));
  }
  MINIMIND_INLINE float sum(Vector a) {
    const __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
  }
  MINIMIND_INLINE float largest(Vector a) {
    const __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    const __m128 quarter = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(quarter, _mm_shuffle_ps(quarter, quarter, 1)));
  }
  MINIMIND_INLINE __m128 sum_four(const Vector (&a)[4]) {
    const __m256 pairs = _mm256_hadd_ps(_mm256_hadd_ps(a[0], a[1]), _mm256_hadd_ps(a[2], a[3]));
    return _mm_add_ps(_mm256_castps256_ps128(pairs), _mm256_extractf128_ps(pairs, 1));
  }
  MINIMIND_INLINE void sum_pairs(const Vector (&a)[4], const Vector (&b)[4], Pair (&sums)[4]) {
    const __m128 first = sum_four(a), second = sum_four(b);
    for (int i = 0; i < 4; ++i) {
      sums[i] = Pair{first[i], second[i]};
    }
  }

  MINIMIND_INLINE Integers dot_add(Integers sum, const int8_t* weights, const int16_t* x) {
    const __m256i wide = _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(weights)));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(wide, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x))));
  }
  MINIMIND_INLINE Integers add_integers(Integers a, Integers b) { return _mm256_add_epi32(a, b); }
  MINIMIND_INLINE int32_t sum_integers(Integers a) {
    const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    const __m128i quarter = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4E));
    return _mm_cvtsi128_si32(_mm_add_epi32(quarter, _mm_shuffle_epi32(quarter, 0xB1)));
  }
};

}  // namespace
}  // namespace minimind::MINIMIND_ISA

#endif
