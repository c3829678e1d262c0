#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace minimind::text_detail {

/// Both ends included.
struct CodepointRange {
  char32_t first;
  char32_t last;
};

/// Unicode categories L* and N*, ascending (unicode_tables.cpp).
std::span<const CodepointRange> letter_ranges();
std::span<const CodepointRange> number_ranges();

/// What the GPT-2 pattern distinguishes: \p{L}, \p{N}, \s and the rest.
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };

CharClass class_of(char32_t codepoint);

struct ClassifiedChar {
  CharClass kind = CharClass::kOther;
  size_t length = 1;  ///< in bytes
};

/// The character at byte `at` (< text.size()). A byte that is no part of valid UTF-8 is a character of its own, of kind
/// kOther.
ClassifiedChar char_at(std::string_view text, size_t at);

/// End of the word that begins at byte `begin` (< text.size()) under the GPT-2 pre-tokenisation pattern
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t word_end(std::string_view text, size_t begin);

}  // namespace minimind::text_detail
