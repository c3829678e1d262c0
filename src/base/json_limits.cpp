#include "base/json_limits.h"

#include "minimind/base/error.h"

namespace minimind {

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

}  // namespace minimind
