#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace minimind {

/// 128 bits that stand for the content of an image, a tensor or a file: for caches and checks of damage, not against
/// an attacker.
struct ContentHash {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const ContentHash&) const = default;
};

/// The hash of `bytes` after `previous`: hash several parts by passing each part's result on to the next. Depends on
/// nothing but the bytes and the place where they are cut into parts.
ContentHash hash_content(std::string_view bytes, const ContentHash& previous = {});

/// 32 hexadecimal digits.
std::string to_hex(const ContentHash& hash);

}  // namespace minimind
