#include "base/json.h"

#include <algorithm>

#include "minimind/base/error.h"

namespace minimind {

namespace {

// `line L, column C`; both count from 1, columns in code points.
std::string line_and_column(std::string_view text, size_t offset) {
  size_t line = 1;
  size_t column = 1;
  for (size_t i = 0; i < std::min(offset, text.size()); ++i) {
    if (text[i] == '\n') {
      ++line;
      column = 1;
    } else if ((static_cast<uint8_t>(text[i]) & 0xC0) != 0x80) {
      ++column;
    }
  }
  return concat("line ", line, ", column ", column);
}

template <class Value>
Value parse_within(std::string_view text, const std::string& where, const JsonLimits& limits) {
  check_json_limits(text, where, limits);
  try {
    return Value::parse(text);
  } catch (const typename Value::parse_error& error) {
    fail(where, ": malformed JSON at ", line_and_column(text, error.byte > 0 ? error.byte - 1 : 0));
  }
}

}  // namespace

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  return parse_within<Json>(text, where, limits);
}

OrderedJson parse_ordered_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  return parse_within<OrderedJson>(text, where, limits);
}

}  // namespace minimind
