#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace minimind {

struct JsonLimits {
  size_t bytes = size_t{64} << 20;
  size_t depth = 64;         ///< arrays and objects inside one another
  size_t values = SIZE_MAX;  ///< commas and opening brackets
};

/// Throws Error that begins with `where` if JSON is too long, nested too deep, or has too many values: its parsed form
/// could take many times the memory of its text. Counts only bytes, brackets and commas; the parser finds mistakes.
void check_json_limits(std::string_view text, const std::string& where, const JsonLimits& limits = {});

}  // namespace minimind
