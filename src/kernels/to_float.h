#pragma once

#include <bit>
#include <cstdint>

namespace minimind::detail {

/// A stored number as float32; 16 bits are those of a bfloat16.
inline float to_float(float value) {
  return value;
}
inline float to_float(int8_t value) {
  return static_cast<float>(value);
}
inline float to_float(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace minimind::detail
