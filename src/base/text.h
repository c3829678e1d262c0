#pragma once

#include <string>
#include <string_view>

namespace minimind {

inline constexpr std::string_view kWhiteSpace = " \t\r\n\v\f";

/// The text without the characters of `blanks` at its two ends.
inline std::string_view strip(std::string_view text, std::string_view blanks = kWhiteSpace) {
  const size_t first = text.find_first_not_of(blanks);
  return first == std::string_view::npos ? std::string_view()
                                         : text.substr(first, text.find_last_not_of(blanks) - first + 1);
}

/// The text with A to Z as lower-case letters; all other bytes stay.
inline std::string lower_case(std::string_view text) {
  std::string result(text);
  for (char& letter : result) {
    letter = letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
  }
  return result;
}

}  // namespace minimind
