#include "io/crc32.h"

#include <array>
#include <bit>
#include <cstring>

namespace minimind::detail {

namespace {

static_assert(std::endian::native == std::endian::little, "weights are read and written in little-endian order");

constexpr int kSlices = 16;
using CrcTables = std::array<std::array<uint32_t, 256>, kSlices>;

constexpr CrcTables make_crc_tables() {
  CrcTables tables{};
  for (uint32_t i = 0; i < 256; ++i) {
    uint32_t value = i;
    for (int bit = 0; bit < 8; ++bit) {
      value = (value >> 1) ^ (0xEDB88320U & (0U - (value & 1U)));
    }
    tables[0][i] = value;
  }
  for (uint32_t i = 0; i < 256; ++i) {
    for (int slice = 1; slice < kSlices; ++slice) {
      const uint32_t before = tables[slice - 1][i];
      tables[slice][i] = (before >> 8) ^ tables[0][before & 0xFF];
    }
  }
  return tables;
}

constexpr CrcTables kCrcTables = make_crc_tables();

}  // namespace

uint32_t crc32(std::string_view bytes) {
  uint32_t crc = 0xFFFFFFFFU;
  const char* data = bytes.data();
  size_t left = bytes.size();
  // Sixteen bytes a turn: weights are hundreds of megabytes.
  for (; left >= kSlices; left -= kSlices, data += kSlices) {
    std::array<uint8_t, kSlices> block;
    std::memcpy(block.data(), data, kSlices);
    uint32_t next = 0;
    for (int i = 0; i < 4; ++i) {
      next ^= kCrcTables[kSlices - 1 - i][block[i] ^ ((crc >> (8 * i)) & 0xFF)];
    }
    for (int i = 4; i < kSlices; ++i) {
      next ^= kCrcTables[kSlices - 1 - i][block[i]];
    }
    crc = next;
  }
  for (; left > 0; --left, ++data) {
    crc = (crc >> 8) ^ kCrcTables[0][(crc ^ static_cast<uint8_t>(*data)) & 0xFF];
  }
  return ~crc;
}

}  // namespace minimind::detail
