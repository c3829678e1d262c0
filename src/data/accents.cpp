#include "data/accents.h"

#include <map>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/utf8.h"

namespace minimind::detail {

namespace {

// Hangul syllables go by arithmetic (Unicode standard, section 3.12).
constexpr char32_t kSyllables = 0xAC00, kLeads = 0x1100, kVowels = 0x1161, kTails = 0x11A7;
constexpr char32_t kLeadCount = 19, kVowelCount = 21, kTailCount = 28;
constexpr char32_t kSyllableCount = kLeadCount * kVowelCount * kTailCount;

using Pair = std::pair<char32_t, char32_t>;

std::optional<char32_t> composition_of(char32_t letter, char32_t accent) {
  static const std::map<Pair, char32_t> pairs = [] {
    std::map<Pair, char32_t> all;
    for (size_t i = 0; i + 2 < kAccentPairs.size(); i += 3) {
      all.emplace(Pair{kAccentPairs[i + 1], kAccentPairs[i + 2]}, kAccentPairs[i]);
    }
    return all;
  }();
  if (letter - kLeads < kLeadCount && accent - kVowels < kVowelCount) {
    return kSyllables + ((letter - kLeads) * kVowelCount + (accent - kVowels)) * kTailCount;
  }
  if (letter - kSyllables < kSyllableCount && (letter - kSyllables) % kTailCount == 0 && accent > kTails &&
      accent - kTails < kTailCount) {
    return letter + (accent - kTails);
  }
  const auto found = pairs.find({letter, accent});
  return found == pairs.end() ? std::nullopt : std::optional(found->second);
}

void append_decomposed(char32_t letter, std::vector<char32_t>& out) {
  static const std::unordered_map<char32_t, Pair> pairs = [] {
    std::unordered_map<char32_t, Pair> all;
    for (size_t i = 0; i + 2 < kAccentPairs.size(); i += 3) {
      all.emplace(kAccentPairs[i], Pair{kAccentPairs[i + 1], kAccentPairs[i + 2]});
    }
    return all;
  }();
  if (letter - kSyllables < kSyllableCount) {
    const char32_t index = letter - kSyllables;
    out.push_back(kLeads + index / (kVowelCount * kTailCount));
    out.push_back(kVowels + index / kTailCount % kVowelCount);
    if (index % kTailCount != 0) {
      out.push_back(kTails + index % kTailCount);
    }
  } else if (const auto found = pairs.find(letter); found != pairs.end()) {
    append_decomposed(found->second.first, out);
    out.push_back(found->second.second);
  } else {
    out.push_back(letter);
  }
}

std::string to_utf8(const std::vector<char32_t>& text) {
  std::string bytes;
  for (const char32_t codepoint : text) {
    append_utf8(bytes, codepoint);
  }
  return bytes;
}

}  // namespace

std::string decompose_accents(std::string_view text) {
  if (repair_utf8(text) != text) {
    return std::string(text);
  }
  std::vector<char32_t> out;
  for (const char32_t codepoint : utf8_to_codepoints(text)) {
    append_decomposed(codepoint, out);
  }
  return to_utf8(out);
}

std::string compose_accents(std::string_view text) {
  if (repair_utf8(text) != text) {
    return std::string(text);
  }
  std::vector<char32_t> out;
  for (const char32_t codepoint : utf8_to_codepoints(text)) {
    const std::optional<char32_t> composed = out.empty() ? std::nullopt : composition_of(out.back(), codepoint);
    if (composed) {
      out.back() = *composed;
    } else {
      out.push_back(codepoint);
    }
  }
  return to_utf8(out);
}

}  // namespace minimind::detail
