#pragma once

#include <cstdint>

// Always inlined and without standard templates, so that the kernels of two instruction sets share no symbol.
#define MINIMIND_TO_FLOAT __attribute__((always_inline)) inline float

namespace minimind::detail {

MINIMIND_TO_FLOAT to_float(float value) {
  return value;
}
MINIMIND_TO_FLOAT to_float(int8_t value) {
  return static_cast<float>(value);
}
/// The value of a bfloat16, given as its 16 bits.
MINIMIND_TO_FLOAT to_float(uint16_t bits) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(bits) << 16);
}

}  // namespace minimind::detail

#undef MINIMIND_TO_FLOAT
