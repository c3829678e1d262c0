#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace minimind {

/// A character at some place of a text. If the bytes there are invalid, the maximal part that could still have become a
/// character (Unicode standard, table 3-7).
struct Utf8Step {
  char32_t codepoint = 0xFFFD;  ///< of an invalid part the replacement character
  size_t length = 1;            ///< bytes
  bool is_valid = false;
  bool is_cut = false;  ///< the text ends inside a character that is valid so far
};

/// Decodes the character at byte `at` (< text.size()).
Utf8Step decode_utf8(std::string_view text, size_t at);

/// Code points of valid UTF-8; every maximal invalid part becomes one U+FFFD (the rule of the Unicode standard and of
/// Python's "replace").
std::vector<char32_t> utf8_to_codepoints(std::string_view text);
void append_utf8(std::string& out, char32_t codepoint);
/// The text with every maximal invalid part replaced by U+FFFD.
std::string repair_utf8(std::string_view bytes);
/// The text for one line of a terminal or a log, for example a name from a data file. Control characters, line breaks
/// and characters that change the writing direction become escapes such as `\u001b`, invalid parts U+FFFD.
std::string printable(std::string_view bytes);
/// How many bytes at the front are complete characters or certainly invalid, so that a stream may show them.
size_t complete_utf8_prefix(std::string_view bytes);

}  // namespace minimind
