#include "base/json.h"

#include <algorithm>
#include <optional>

#include "base/file_format.h"
#include "minimind/base/error.h"

namespace minimind {

namespace {

template <class Value>
Value parse_within(std::string_view text, const std::string& where, const JsonLimits& limits) {
  if (const std::optional<FileFormat> format = recognise_format(text.substr(0, 512))) {
    fail(where, ": expected JSON in UTF-8, found ", format->name, "; ", format->cure);
  }
  check_json_limits(text, where, limits);
  try {
    return Value::parse(text);
  } catch (const typename Value::parse_error& error) {
    fail(where, ": malformed JSON at ", line_and_column(text, error.byte > 0 ? error.byte - 1 : 0));
  }
}

}  // namespace

void check_json_limits(std::string_view text, const std::string& where, const JsonLimits& limits) {
  require(text.size() <= limits.bytes, where, ": expected JSON of at most ", limits.bytes, " bytes, found ",
          text.size(), "; is it the right file?");
  size_t depth = 0;
  size_t values = 0;
  bool in_string = false;
  for (size_t at = 0; at < text.size(); ++at) {
    const char c = text[at];
    if (in_string) {
      at += c == '\\' ? 1 : 0;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      ++values;
      require(++depth <= limits.depth, where, ": expected JSON nested at most ", limits.depth,
              " deep, found more at byte ", at, "; is it the right file?");
    } else if (c == ',') {
      ++values;
    } else if ((c == ']' || c == '}') && depth > 0) {
      --depth;
    }
    require(values <= limits.values, where, ": expected JSON of at most ", limits.values, " values, found more");
  }
}

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
