#pragma once

#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>

// AVX-512 with BF16: vectors of 16 values. gemv.inl says what each function does. No standard template here: every
// function is compiled for this instruction set.

#if !defined(__clang__)
// GCC 12 warns about undefined operands inside its own intrinsics (GCC bug 105593). The kernels are compiled file by
// file, so no other source loses the warnings.
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#define MINIMIND_ISA avx512
#define MINIMIND_AVX512 "avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,avx2,fma"
#define MINIMIND_TARGET __attribute__((target(MINIMIND_AVX512)))
#define MINIMIND_INLINE __attribute__((target(MINIMIND_AVX512), always_inline)) static

namespace minimind::MINIMIND_ISA {
namespace {

struct Lanes {
  using Vector = __m512;
  using Pair = float __attribute__((vector_size(8)));
  using Integers = __m512i;
  static constexpr int64_t kWidth = 16, kIntegerWidth = 32, kBlockBytes = 3072, kPrefetchBytes = 2048;
  static constexpr unsigned kTileRows = 6;  // 6 x 4 sums, 6 weights and 1 input fit the 32 registers
  static constexpr bool kTakesBf16Input = true;

  MINIMIND_INLINE Vector broadcast(float value) { return _mm512_set1_ps(value); }
  MINIMIND_INLINE Vector load(const float* at) { return _mm512_loadu_ps(at); }
  /// 32 values that stay bfloat16: the processor multiplies them.
  MINIMIND_INLINE __m512bh load(const uint16_t* at) { return (__m512bh)_mm512_loadu_si512(at); }
  MINIMIND_INLINE Vector load(const int8_t* at) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(at))));
  }
  MINIMIND_INLINE __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1U << count) - 1); }
  MINIMIND_INLINE Vector load(const float* at, int64_t count, float filling) {
    return _mm512_mask_loadu_ps(broadcast(filling), first_lanes(count), at);
  }
  MINIMIND_INLINE Vector load_even(const uint16_t* at) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(at), 16));
  }
  MINIMIND_INLINE Vector load_odd(const uint16_t* at) {
    const __m512i upper_half = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
    return _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(at), upper_half));
  }
  MINIMIND_INLINE void store(float* at, Vector a, int64_t count) { _mm512_mask_storeu_ps(at, first_lanes(count), a); }

  MINIMIND_INLINE Vector multiply_add(Vector sum, Vector a, Vector b) { return _mm512_fmadd_ps(a, b, sum); }
  MINIMIND_INLINE Vector multiply_add(Vector sum, __m512bh a, __m512bh b) { return _mm512_dpbf16_ps(sum, a, b); }
  MINIMIND_INLINE Vector larger(Vector a, Vector b) { return _mm512_max_ps(a, b); }
  MINIMIND_INLINE Vector smaller(Vector a, Vector b) { return _mm512_min_ps(a, b); }
  MINIMIND_INLINE Vector round(Vector a) {
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  MINIMIND_INLINE Vector scale_by_power(Vector a, Vector n) { return _mm512_scalef_ps(a, n); }
  MINIMIND_INLINE float sum(Vector a) { return _mm512_reduce_add_ps(a); }
  MINIMIND_INLINE float largest(Vector a) { return _mm512_reduce_max_ps(a); }
  /// Quarter i holds four values that add up to the sum of a[i].
  MINIMIND_INLINE Vector sum_quarters(const Vector (&a)[4]) {
    const __m512 low = _mm512_shuffle_f32x4(a[0], a[1], 0x44) + _mm512_shuffle_f32x4(a[0], a[1], 0xEE);
    const __m512 high = _mm512_shuffle_f32x4(a[2], a[3], 0x44) + _mm512_shuffle_f32x4(a[2], a[3], 0xEE);
    return _mm512_shuffle_f32x4(low, high, 0x88) + _mm512_shuffle_f32x4(low, high, 0xDD);
  }
  MINIMIND_INLINE void sum_pairs(const Vector (&a)[4], const Vector (&b)[4], Pair (&sums)[4]) {
    const __m512 first = sum_quarters(a), second = sum_quarters(b);
    const __m512 halves = _mm512_unpacklo_ps(first, second) + _mm512_unpackhi_ps(first, second);
    const __m512 pairs = halves + _mm512_shuffle_ps(halves, halves, 0x4E);
    const __m128 quarters[4] = {_mm512_castps512_ps128(pairs), _mm512_extractf32x4_ps(pairs, 1),
                                _mm512_extractf32x4_ps(pairs, 2), _mm512_extractf32x4_ps(pairs, 3)};
    for (int i = 0; i < 4; ++i) {
      sums[i] = __builtin_shufflevector(quarters[i], quarters[i], 0, 1);
    }
  }

  MINIMIND_INLINE Integers dot_add(Integers sum, const int8_t* weights, const int16_t* x) {
    const __m512i wide = _mm512_cvtepi8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(weights)));
    return _mm512_add_epi32(sum, _mm512_madd_epi16(wide, _mm512_loadu_si512(x)));
  }
  MINIMIND_INLINE Integers add_integers(Integers a, Integers b) { return _mm512_add_epi32(a, b); }
  MINIMIND_INLINE int32_t sum_integers(Integers a) { return _mm512_reduce_add_epi32(a); }
};

}  // namespace
}  // namespace minimind::MINIMIND_ISA

#endif
