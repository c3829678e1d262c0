#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace minimind {

struct JsonLimits {
  size_t bytes = size_t{64} << 20;
  size_t depth = 64;  ///< arrays and objects inside one another
};

/// Refuses JSON whose parsed form could take many times the memory of its text: too long, or nested too deep. Looks at
/// length and brackets alone; malformed text is left to the parser. Throws Error that names `where`.
void require_modest_json(std::string_view text, const std::string& where, const JsonLimits& limits = {});

}  // namespace minimind
