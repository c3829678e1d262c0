#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace minimind {

/// 128-bit hash (XXH3) of the content of an image, a tensor or a file. It serves caches and finds damage; it does not
/// withstand an attacker.
struct ContentHash {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const ContentHash&) const = default;
};

/// The hash of `bytes`, following the parts that gave `previous`. Depends only on the bytes and on where they are cut
/// into parts.
ContentHash hash_content(std::string_view bytes, const ContentHash& previous = {});

/// 32 hexadecimal digits.
std::string to_hex(const ContentHash& hash);

}  // namespace minimind
