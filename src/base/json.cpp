#include "base/json.h"

#include <algorithm>

#include "minimind/base/error.h"

namespace minimind {

namespace {

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

std::string line_and_column(std::string_view text, size_t offset) {
  const std::string_view before = text.substr(0, offset);
  const std::string_view row = before.substr(before.rfind('\n') + 1);
  const auto begins_character = [](char byte) { return (static_cast<uint8_t>(byte) & 0xC0U) != 0x80U; };
  return concat("line ", 1 + std::ranges::count(before, '\n'), ", column ",
                1 + std::ranges::count_if(row, begins_character));
}

Json parse_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  return parse_within<Json>(text, where, limits);
}

OrderedJson parse_ordered_json(std::string_view text, const std::string& where, const JsonLimits& limits) {
  return parse_within<OrderedJson>(text, where, limits);
}

}  // namespace minimind
