#include "data/json_text.h"

#include <algorithm>
#include <array>

#include "base/utf8.h"
#include "minimind/base/error.h"

namespace minimind::detail {

namespace {

struct Literal {
  std::string_view text;
  std::string_view digits;  ///< of the same length; a number that no writer makes
};

constexpr std::array kLiterals = {Literal{"NaN", "0E0"}, Literal{"Infinity", "0E000000"},
                                  Literal{"-Infinity", "-0E000000"}};

}  // namespace

void JsonCursor::begin_literal() {
  const std::string_view rest(next_, static_cast<size_t>(end_ - next_));
  for (const Literal& literal : kLiterals) {
    if (rest.starts_with(literal.text)) {
      substitute_ = literal.digits;
      has_literals_ = true;
    }
  }
}

bool JsonCursor::is_literal(std::string_view digits) const {
  return has_literals_ && std::ranges::find(kLiterals, digits, &Literal::digits) != kLiterals.end();
}

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
