#pragma once

#if defined(__aarch64__)
#include <arm_neon.h>

#include <cstdint>

// NEON of aarch64: vectors of four values. gemv.inl says what each function does.

#define MINIMIND_ISA neon
#define MINIMIND_TARGET
#define MINIMIND_INLINE __attribute__((always_inline)) static

namespace minimind::MINIMIND_ISA {
namespace {

struct Lanes {
  using Vector = float32x4_t;
  using Pair = float __attribute__((vector_size(8)));
  using Integers = int32x4_t;
  static constexpr int64_t kWidth = 4, kIntegerWidth = 16, kBlockBytes = 4096, kPrefetchBytes = 0;
  static constexpr unsigned kTileRows = 6;  // 6 x 4 sums, 6 weights and 1 input fit the 32 registers
  static constexpr bool kTakesBf16Input = false;

  MINIMIND_INLINE Vector broadcast(float value) { return vdupq_n_f32(value); }
  MINIMIND_INLINE Vector load(const float* at) { return vld1q_f32(at); }
  MINIMIND_INLINE Vector load(const uint16_t* at) { return vreinterpretq_f32_u32(vshll_n_u16(vld1_u16(at), 16)); }
  MINIMIND_INLINE Vector load(const int8_t* at) {
    uint32_t four = 0;
    __builtin_memcpy(&four, at, sizeof(four));
    return vcvtq_f32_s32(vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(four))))));
  }
  MINIMIND_INLINE Vector load(const float* at, int64_t count, float filling) {
    const float values[4] = {count > 0 ? at[0] : filling, count > 1 ? at[1] : filling, count > 2 ? at[2] : filling,
                             filling};
    return load(values);
  }
  MINIMIND_INLINE Vector load_even(const uint16_t* at) {
    return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_u16(vld1q_u16(at)), 16));
  }
  MINIMIND_INLINE Vector load_odd(const uint16_t* at) {
    return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_u16(vld1q_u16(at)), vdupq_n_u32(0xFFFF0000U)));
  }
  MINIMIND_INLINE void store(float* at, Vector a, int64_t count) {
    float values[4];
    vst1q_f32(values, a);
    for (int64_t i = 0; i < count; ++i) {
      at[i] = values[i];
    }
  }

  MINIMIND_INLINE Vector multiply_add(Vector sum, Vector a, Vector b) { return vfmaq_f32(sum, a, b); }
  MINIMIND_INLINE Vector larger(Vector a, Vector b) { return vmaxq_f32(a, b); }
  MINIMIND_INLINE Vector smaller(Vector a, Vector b) { return vminq_f32(a, b); }
  MINIMIND_INLINE Vector round(Vector a) { return vrndnq_f32(a); }
  MINIMIND_INLINE Vector scale_by_power(Vector a, Vector n) {
    return vmulq_f32(a, vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(vcvtq_s32_f32(n), vdupq_n_s32(127)), 23)));
  }
  MINIMIND_INLINE float sum(Vector a) { return vaddvq_f32(a); }
  MINIMIND_INLINE float largest(Vector a) { return vmaxvq_f32(a); }
  MINIMIND_INLINE Vector sum_four(const Vector (&a)[4]) {
    return vpaddq_f32(vpaddq_f32(a[0], a[1]), vpaddq_f32(a[2], a[3]));
  }
  MINIMIND_INLINE void sum_pairs(const Vector (&a)[4], const Vector (&b)[4], Pair (&sums)[4]) {
    const Vector first = sum_four(a), second = sum_four(b);
    for (int i = 0; i < 4; ++i) {
      sums[i] = Pair{first[i], second[i]};
    }
  }

  MINIMIND_INLINE Integers dot_add(Integers sum, const int8_t* weights, const int16_t* x) {
    const int8x16_t w = vld1q_s8(weights);
    const int16x8_t low = vmovl_s8(vget_low_s8(w)), high = vmovl_high_s8(w), x_low = vld1q_s16(x),
                    x_high = vld1q_s16(x + 8);
    sum = vmlal_high_s16(vmlal_s16(sum, vget_low_s16(low), vget_low_s16(x_low)), low, x_low);
    return vmlal_high_s16(vmlal_s16(sum, vget_low_s16(high), vget_low_s16(x_high)), high, x_high);
  }
  MINIMIND_INLINE Integers add_integers(Integers a, Integers b) { return vaddq_s32(a, b); }
  MINIMIND_INLINE int32_t sum_integers(Integers a) { return vaddvq_s32(a); }
};

}  // namespace
}  // namespace minimind::MINIMIND_ISA

#endif
