#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace minimind::text_detail {

/// The classes of the GPT-2 pattern: \p{L}, \p{N}, \s and all other characters.
enum class CharClass : uint8_t { kOther, kLetter, kNumber, kSpace };

CharClass class_of(char32_t codepoint);

struct ClassifiedChar {
  CharClass kind = CharClass::kOther;
  size_t length = 1;  ///< in bytes
};

/// The character at byte `at` (< text.size()). An invalid part of UTF-8 is a character of class kOther.
ClassifiedChar char_at(std::string_view text, size_t at);

/// End of the word that begins at byte `begin` (< text.size()) under the GPT-2 pre-tokenisation pattern
///   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
size_t word_end(std::string_view text, size_t begin);

}  // namespace minimind::text_detail
