#include "data/json_text.h"

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind::detail {

std::string character_at(std::string_view text, size_t offset) {
  if (offset >= text.size()) {
    return "the end of the file";
  }
  std::string character;
  append_utf8(character, utf8_to_codepoints(text.substr(offset, 4)).front());
  return concat("'", printable(character), "'");
}

std::string parser_hint(std::string_view what) {
  // `[json.exception.…] parse error at line 1, column 9: syntax error while parsing CONTEXT - HINT; last read: 'TOKEN';
  // expected EXPECTED`, mostly.
  const size_t dash = what.find(" - ");
  const std::string_view text =
      dash == std::string_view::npos ? what.substr(what.find(' ') + 1, 80) : what.substr(dash + 3);
  const size_t token = text.find("; last read: '");
  const size_t expected = text.rfind("'; expected ");
  const bool has_both = token != std::string_view::npos && expected != std::string_view::npos;
  return printable(concat(text.substr(0, token), has_both ? text.substr(expected + 1) : std::string_view()));
}

}  // namespace minimind::detail
