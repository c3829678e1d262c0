#pragma once

#include <bit>
#include <cstdint>

namespace minimind::detail {

/// A stored number as float32; 16 bits are those of a bfloat16.
inline float widened(float value) {
  return value;
}
inline float widened(int8_t value) {
  return static_cast<float>(value);
}
inline float widened(uint16_t bits) {
  return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
}

}  // namespace minimind::detail
