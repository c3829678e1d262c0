#pragma once

#include <string>
#include <string_view>

namespace minimind::detail {

/// The text with each letter and its accents in one code point where there is one, as Linux and Windows write names
/// (Unicode's NFC for alphabets below U+2000, kana and Hangul). Text that is not UTF-8 comes back as it is.
std::string compose_accents(std::string_view text);

/// The text with accents behind their letters, as macOS writes names (NFD).
std::string decompose_accents(std::string_view text);

/// Triples: a letter with an accent, the letter, the accent.
extern const std::u16string_view kAccentPairs;

}  // namespace minimind::detail
