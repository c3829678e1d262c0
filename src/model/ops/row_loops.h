#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>

#include "kernels/to_float.h"

// Pieces of the row forms: plain loops that the compiler vectorises. The processor's version is chosen when the program
// starts.
#if defined(__x86_64__)
#define MINIMIND_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define MINIMIND_CLONES
#endif

namespace minimind::detail {

inline void store(float value, float* place) {
  *place = value;
}
/// Rounds to the nearest bfloat16, ties to even.
inline void store(float value, uint16_t* place) {
  const auto bits = std::bit_cast<uint32_t>(value);
  const uint32_t rounded = (bits + 0x7FFFU + ((bits >> 16) & 1U)) >> 16;
  *place = value != value ? uint16_t{0x7FC0} : static_cast<uint16_t>(rounded);
}

/// exp by 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2], in operations that vectorise.
inline float exp_of(float x) {
  constexpr float kWhole = 12582912.0F;  // 1.5 * 2^23: adding it rounds to a whole number, which the low bits then hold
  x = x < -87.0F ? -87.0F : x > 88.0F ? 88.0F : x;
  const float whole = x * 1.44269504F + kWhole;
  const float n = whole - kWhole;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;  // ln 2 in two parts, the first one exact in few bits
  float p = 1.0F / 5040;
  for (const float factor : {1.0F / 720, 1.0F / 120, 1.0F / 24, 1.0F / 6, 0.5F, 1.0F, 1.0F}) {
    p = p * r + factor;
  }
  return p * std::bit_cast<float>((std::bit_cast<uint32_t>(whole) + 127U) << 23);
}

/// x * sigmoid(scale * x).
inline float times_sigmoid(float x, float scale) {
  return x / (1.0F + exp_of(-scale * x));
}

}  // namespace minimind::detail
