#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace minimind {

/// Code points of valid UTF-8; every maximal invalid part becomes one U+FFFD (the rule of the Unicode standard and of
/// Python's "replace").
std::vector<char32_t> utf8_to_codepoints(std::string_view text);
void append_utf8(std::string& out, char32_t codepoint);
/// The text with every maximal invalid part replaced by U+FFFD.
std::string repair_utf8(std::string_view bytes);
/// The text for a line of a terminal or a log: control characters, line breaks included, and the characters that turn
/// the direction of writing become `\u001b`, invalid parts U+FFFD. What a data file names may be anything.
std::string printable(std::string_view bytes);
/// The text with A to Z in small letters, all other bytes as they are: for header names, endings of files.
std::string ascii_lower(std::string_view text);
/// How many bytes at the front are complete characters (or certainly invalid): what a stream may show already.
size_t complete_utf8_prefix(std::string_view bytes);

}  // namespace minimind
