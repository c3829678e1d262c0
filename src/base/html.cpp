#include "base/html.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/bytes.h"
#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind {

std::string escape_html(std::string_view text) {
  constexpr std::array<std::pair<char, std::string_view>, 5> kEntities = {
      {{'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"}}};
  std::string out;
  for (const char c : repair_utf8(text)) {
    const auto* const entity = std::ranges::find(kEntities, c, &std::pair<char, std::string_view>::first);
    const bool is_control = static_cast<unsigned char>(c) < 0x20 || c == 0x7F;
    if (entity != kEntities.end()) {
      out += entity->second;
    } else if (!is_control || c == '\n' || c == '\t') {
      out += c;
    }
  }
  return out;
}

std::string data_url(std::string_view media_type, std::string_view bytes) {
  return concat("data:", media_type, ";base64,", encode_base64(bytes));
}

}  // namespace minimind
