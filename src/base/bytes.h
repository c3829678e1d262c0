#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace minimind {

/// Appends the bytes of an integer, the lowest first.
template <class Integer>
void append_little_endian(std::string& out, Integer value) {
  for (size_t i = 0; i < sizeof(value); ++i) {
    out.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 0xFFU));
  }
}

/// The integer whose lowest byte stands at `offset`. The caller checks that offset + sizeof(Integer) <= bytes.size().
template <class Integer>
Integer read_little_endian(std::string_view bytes, size_t offset = 0) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(Integer); ++i) {
    value |= static_cast<uint64_t>(static_cast<unsigned char>(bytes[offset + i])) << (8 * i);
  }
  return static_cast<Integer>(value);
}

/// Appends a variable-length integer (LEB128, as in protocol buffers): seven bits per byte, the lowest first.
void append_varint(std::string& out, uint64_t value);
/// Reads a variable-length integer and moves `next` behind it. The caller vouches that the integer is whole.
uint64_t read_varint(const char*& next);

/// Base64 with padding (RFC 4648, section 4).
std::string encode_base64(std::string_view bytes);
/// The bytes of a base64 text; none if the text has other characters, no padding, or unused bits that are not zero.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace minimind
