#pragma once

#include <cstdint>

#include "kernels/to_float.h"

// Plain C++ for processors without kernels of their own, and the reference in tests: the compiler's vectors of four
// values, which become whatever the target has. gemv.inl says what each function does.

#define MINIMIND_ISA scalar
#define MINIMIND_TARGET
#define MINIMIND_INLINE __attribute__((always_inline)) static

namespace minimind::MINIMIND_ISA {
namespace {

using detail::to_float;

struct Lanes {
  using Vector = float __attribute__((vector_size(16)));
  using Pair = float __attribute__((vector_size(8)));
  using Integers = int32_t;
  using Exponents = int32_t __attribute__((vector_size(16)));
  static constexpr int64_t kWidth = 4, kIntegerWidth = 16, kBlockBytes = 4096, kPrefetchBytes = 0;
  static constexpr unsigned kTileRows = 2;
  static constexpr bool kTakesBf16Input = false;

  MINIMIND_INLINE Vector broadcast(float value) { return Vector{value, value, value, value}; }
  template <class Value>
  MINIMIND_INLINE Vector load(const Value* at) {
    return Vector{to_float(at[0]), to_float(at[1]), to_float(at[2]), to_float(at[3])};
  }
  MINIMIND_INLINE Vector load(const float* at, int64_t count, float filling) {
    return Vector{at[0], count > 1 ? at[1] : filling, count > 2 ? at[2] : filling, filling};
  }
  MINIMIND_INLINE Vector load_even(const uint16_t* at) {
    return Vector{to_float(at[0]), to_float(at[2]), to_float(at[4]), to_float(at[6])};
  }
  MINIMIND_INLINE Vector load_odd(const uint16_t* at) { return load_even(at + 1); }
  MINIMIND_INLINE void store(float* at, Vector a, int64_t count) {
    for (int64_t i = 0; i < count; ++i) {
      at[i] = a[i];
    }
  }

  MINIMIND_INLINE Vector multiply_add(Vector sum, Vector a, Vector b) { return sum + a * b; }
  MINIMIND_INLINE Vector larger(Vector a, Vector b) { return a > b ? a : b; }
  MINIMIND_INLINE Vector smaller(Vector a, Vector b) { return a < b ? a : b; }
  /// 1.5 * 2^23 leaves no bits for a fraction; |a| < 2^22.
  MINIMIND_INLINE Vector round(Vector a) { return (a + 12582912.0F) - 12582912.0F; }
  MINIMIND_INLINE Vector scale_by_power(Vector a, Vector n) {
    return a * __builtin_bit_cast(Vector, (__builtin_convertvector(n, Exponents) + 127) << 23);
  }
  MINIMIND_INLINE float sum(Vector a) { return (a[0] + a[2]) + (a[1] + a[3]); }
  MINIMIND_INLINE float largest(Vector a) {
    const float low = a[0] > a[1] ? a[0] : a[1], high = a[2] > a[3] ? a[2] : a[3];
    return low > high ? low : high;
  }
  MINIMIND_INLINE void sum_pairs(const Vector (&a)[4], const Vector (&b)[4], Pair (&sums)[4]) {
    for (int i = 0; i < 4; ++i) {
      sums[i] = Pair{sum(a[i]), sum(b[i])};
    }
  }

  MINIMIND_INLINE Integers dot_add(Integers sum, const int8_t* weights, const int16_t* x) {
    for (int64_t i = 0; i < kIntegerWidth; ++i) {
      sum += weights[i] * x[i];
    }
    return sum;
  }
  MINIMIND_INLINE Integers add_integers(Integers a, Integers b) { return a + b; }
  MINIMIND_INLINE int32_t sum_integers(Integers a) { return a; }
};

}  // namespace
}  // namespace minimind::MINIMIND_ISA
