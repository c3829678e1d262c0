#include "base/utf8.h"

#include <algorithm>
#include <cstdio>

namespace minimind {

Utf8Step decode_utf8(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t lead = byte(at);
  if (lead < 0x80) {
    return {lead, 1, true, false};
  }
  size_t need = 0;
  uint8_t low = 0x80;
  uint8_t high = 0xBF;
  char32_t value = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    need = 1, value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    need = 2, value = lead & 0x0F;
    low = lead == 0xE0 ? 0xA0 : 0x80;
    high = lead == 0xED ? 0x9F : 0xBF;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    need = 3, value = lead & 0x07;
    low = lead == 0xF0 ? 0x90 : 0x80;
    high = lead == 0xF4 ? 0x8F : 0xBF;
  } else {
    return {};
  }
  for (size_t i = 1; i <= need; ++i) {
    if (at + i >= text.size()) {
      return {.length = i, .is_cut = true};
    }
    const uint8_t next = byte(at + i);
    if (next < low || next > high) {
      return {.length = i};
    }
    value = (value << 6) | (next & 0x3F);
    low = 0x80, high = 0xBF;
  }
  return {value, need + 1, true, false};
}

std::vector<char32_t> utf8_to_codepoints(std::string_view text) {
  std::vector<char32_t> codepoints;
  codepoints.reserve(text.size());
  for (size_t at = 0; at < text.size();) {
    const Utf8Step step = decode_utf8(text, at);
    codepoints.push_back(step.codepoint);
    at += step.length;
  }
  return codepoints;
}

void append_utf8(std::string& out, char32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

std::string printable(std::string_view bytes) {
  const auto is_shown = [](char32_t code) {
    const bool is_control = code < 0x20 || (code >= 0x7F && code <= 0x9F);
    const bool breaks_or_turns_a_line = (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069) ||
                                        code == 0x200E || code == 0x200F || code == 0x061C;
    return !is_control && !breaks_or_turns_a_line;
  };
  std::string text;
  for (const char32_t code : utf8_to_codepoints(bytes)) {
    if (is_shown(code)) {
      append_utf8(text, code);
    } else {
      char escape[8];
      std::snprintf(escape, sizeof(escape), "\\u%04x", static_cast<unsigned>(code) & 0xFFFFU);
      text += escape;
    }
  }
  return text;
}

std::string repair_utf8(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size());
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = decode_utf8(bytes, at);
    append_utf8(text, step.codepoint);
    at += step.length;
  }
  return text;
}

size_t complete_utf8_prefix(std::string_view bytes) {
  // Only the last three bytes can begin an incomplete character.
  const size_t first = bytes.size() - std::min<size_t>(bytes.size(), 3);
  for (size_t at = first; at < bytes.size(); ++at) {
    if (decode_utf8(bytes, at).is_cut) {
      return at;
    }
  }
  return bytes.size();
}

}  // namespace minimind
