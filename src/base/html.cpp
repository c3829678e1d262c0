#include "base/html.h"

#include "base/bytes.h"
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
  std::string out = "data:";
  out += media_type;
  out += ";base64,";
  out += encode_base64(bytes);
  return out;
}

}  // namespace minimind
