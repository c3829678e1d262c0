#include "minimind/base/content_hash.h"

#include <array>
#include <cstring>

namespace minimind {

namespace {

// Odd constants without structure (digits of the golden ratio, pi, e and square roots).
constexpr std::array<uint64_t, 4> kLaneKeys = {0x9E3779B97F4A7C15ULL, 0x243F6A8885A308D3ULL, 0xB7E151628AED2A6BULL,
                                               0x6A09E667F3BCC909ULL};
constexpr size_t kStripe = 64;

uint64_t load_word(const char* bytes) {
  uint64_t word;
  std::memcpy(&word, bytes, sizeof(word));
  return word;
}

uint64_t rotate_left(uint64_t word, int bits) {
  return (word << bits) | (word >> (64 - bits));
}

// Both halves of the 128-bit product, folded: every input bit reaches every output bit.
uint64_t fold_product(uint64_t a, uint64_t b) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = static_cast<Wide>(a) * b;
  return static_cast<uint64_t>(product) ^ static_cast<uint64_t>(product >> 64);
}

using Lanes = std::array<uint64_t, 4>;

void absorb(Lanes& lanes, const char* stripe) {
  for (size_t i = 0; i < lanes.size(); ++i) {
    const uint64_t a = load_word(stripe + 16 * i);
    const uint64_t b = load_word(stripe + 16 * i + 8);
    // The rotated lane stays in the sum: a factor that happens to be zero must not wipe out what came before.
    lanes[i] = fold_product(a ^ kLaneKeys[i], b ^ lanes[i]) + rotate_left(lanes[i], 23);
  }
}

}  // namespace

ContentHash hash_content(std::string_view bytes, const ContentHash& previous) {
  Lanes lanes = {previous.low ^ kLaneKeys[1], previous.high ^ kLaneKeys[2], previous.low + kLaneKeys[3],
                 previous.high + kLaneKeys[0]};
  const char* next = bytes.data();
  size_t left = bytes.size();
  for (; left >= kStripe; left -= kStripe, next += kStripe) {
    absorb(lanes, next);
  }
  if (left > 0) {
    std::array<char, kStripe> last{};
    std::memcpy(last.data(), next, left);
    absorb(lanes, last.data());
  }
  // The length tells a short end from one filled up with zeros.
  const uint64_t size = bytes.size();
  uint64_t low = fold_product(lanes[0] ^ size, lanes[1] ^ kLaneKeys[0]) + lanes[2];
  uint64_t high = fold_product(lanes[2] ^ kLaneKeys[3], lanes[3] + size) + lanes[0];
  low = fold_product(low ^ kLaneKeys[2], high + kLaneKeys[1]) ^ lanes[3];
  high = fold_product(high ^ kLaneKeys[0], low + kLaneKeys[3]) ^ lanes[1];
  return {low, high};
}

std::string to_hex(const ContentHash& hash) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const uint64_t word : {hash.high, hash.low}) {
    for (int shift = 60; shift >= 0; shift -= 4) {
      text.push_back(kDigits[(word >> shift) & 15U]);
    }
  }
  return text;
}

}  // namespace minimind
