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

/// Refuses JSON whose parsed form could take many times the memory of its text: too long, nested too deep, of too many
/// values. Looks at length, brackets and commas alone; malformed text is left to the parser. Throws Error that names
/// `where`.
void check_json_limits(std::string_view text, const std::string& where, const JsonLimits& limits = {});

}  // namespace minimind
