#include "base/html.h"

#include <algorithm>
#include <cstdint>

#include "base/utf8.h"

namespace minimind {

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : repair_utf8(text)) {
    const auto byte = static_cast<unsigned char>(c);
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        if (byte >= 0x20 && byte != 0x7F) {
          out += c;
        } else if (c == '\n' || c == '\t') {
          out += c;
        }
    }
  }
  return out;
}

std::string data_url(std::string_view media_type, std::string_view bytes) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out = "data:";
  out += media_type;
  out += ";base64,";
  for (size_t at = 0; at < bytes.size(); at += 3) {
    const size_t held = std::min<size_t>(3, bytes.size() - at);
    uint32_t group = 0;
    for (size_t i = 0; i < 3; ++i) {
      group = group << 8 | (i < held ? static_cast<unsigned char>(bytes[at + i]) : 0U);
    }
    for (size_t digit = 0; digit < 4; ++digit) {
      out += digit <= held ? kDigits[group >> (18 - 6 * digit) & 63U] : '=';
    }
  }
  return out;
}

}  // namespace minimind
